"""What a node says over HTTPS. Read in this order: `routes` (every route, its scopes, its shapes), `access` (who asks),
`submitting`, `reading`, `operating` (what is answered), `app` (how it is served). `ports` names what is needed of the node."""
