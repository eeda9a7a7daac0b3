"""`python -m tallystick.node run --config node.toml`: one node, without the rest of the command."""

from tallystick.node.cli import node_app

if __name__ == "__main__":
    node_app()
