"""The rule catalogue as code, by shape: `amounts` (R01), `totals` (R04). Parameters are data, see `rule_set`."""
