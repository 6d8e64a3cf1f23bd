"""The formats of models that are refused by name: nothing of them is ever opened."""

# Keras's own files: loading one runs what it holds, the code of a Lambda layer for instance.
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")

ONLY_SAVED_MODELS = (
    "only SavedModels are taken; a .keras or .h5 file is not opened, since loading one can run code that it holds; "
    "in Keras, model.export(folder) writes a SavedModel"
)
