"""The paper's baseline models (§4): their settings, inputs, training, saved form, and predictions. Keras on TensorFlow."""
