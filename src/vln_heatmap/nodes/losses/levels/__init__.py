"""The five spatial levels: geometric, correspondence, coherence, reasoning, discrimination."""
