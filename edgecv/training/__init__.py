"""Training of classifiers and segmenters on folders of pictures, in epochs that an interruption does not lose.

`settings` says how, `pictures` reads and checks what there is, `batches` makes batches, `loop` trains, and
`checkpoint` keeps every epoch. Modules other than `settings`, `checkpoint` and `pictures` import Keras.
"""
