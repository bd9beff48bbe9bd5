"""One instance of the service: the pages of one location."""
