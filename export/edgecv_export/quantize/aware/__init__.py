"""Quantization-aware training: fine-tune a network while it computes as its integer artefact will.

`train.train_aware` does it all: insert (`insert.prepare`), fine-tune (`finetune.finetune`), hand over
(`insert.finish`). Everything is written in Keras 3 alone and trains on any of its back ends.
"""
