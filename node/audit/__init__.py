"""The regulator's node: `observer` follows every block and compares results, `app` serves the reading routes alone.
It holds no key that votes or submits."""
