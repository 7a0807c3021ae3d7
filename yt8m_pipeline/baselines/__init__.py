"""The paper's baseline models (§4), in Keras: settings, inputs, training, the saved model, and predictions."""
