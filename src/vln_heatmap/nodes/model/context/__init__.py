"""What a dialogue about a stream of views has before it: fast tokens, slow memory, and bounded caches of both."""
