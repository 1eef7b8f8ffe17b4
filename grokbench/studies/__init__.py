"""Published statements about grokking, tested on runs: a module for each paper, with its settings and its statements."""
