"""`make bench`: how fast it is, beside others on the same machine; see bench/__main__.py."""
