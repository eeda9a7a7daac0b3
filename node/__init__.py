"""The bank's node: `core` decides, `storage` and `runtime` touch the world, `api` and `audit` answer people,
`config` says how, `compose` joins the parts, `cli` starts them. Exports nothing."""
