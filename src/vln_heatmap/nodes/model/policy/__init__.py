"""The flow-matching policy: images, instruction and state in, a chunk of continuous actions out."""
