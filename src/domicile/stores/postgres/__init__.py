"""The store of kind `postgresql`, and a server of our own for the demo and the tests."""
