"""What users run without fredbench: the published loops of this literature, in our own words, of stock torch layers.

Nothing here is tuned: stock modules, stock autograd, `affine_grid` and `grid_sample`, torch's optimisers, whole tensors
where the published code has whole tensors. Of fredbench nothing is imported, so that no speed of ours gets in. Each
loop takes what it draws from a source of named generators (`draws`), so that it can be given the very pictures, weights
and augmentations that ours sees: `tests/unit/test_yardsticks.py` holds every one of them to ours, number by number.

Sources: the public codes of DC, DSA and DM (one repository), MTT, IDC, HaBa, FRePo, KIP and FreD, and their papers.
"""
