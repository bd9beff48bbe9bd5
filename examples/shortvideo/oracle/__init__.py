"""The oracle: every write that the service acknowledged, kept on the client's side, and looked for again later."""
