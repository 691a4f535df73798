"""The five spatial levels: geometric, correspondence, coherence, reasoning, discrimination.

Every loss gives one number a window, [B].
"""
