"""How runs are judged: versioned protocols on frozen features, their scores, and paired tests.

`sslbench.evaluation.protocols` and `sslbench.evaluation.scores` come without torch.
"""
