"""What a phase of training may add to the plain way: which samples come, what becomes of a batch, further losses.

``sampling`` weighs samples, without torch; ``batch`` changes batches and adds losses. Settings and names are in
``vln_heatmap.params.techniques``. Invariant: without techniques a training is bit for bit the plain one.
"""
