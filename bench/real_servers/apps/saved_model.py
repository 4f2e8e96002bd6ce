"""A SavedModel of random weights: `saved_model.py FOLDER`. Some milliseconds of one thread a row."""

import sys

import tensorflow as tf

INPUTS, ROWS, WIDTH, LAYERS, OUTPUTS = 64, 64, 512, 20, 10


class Network(tf.Module):
    """The network of the other servers, in TensorFlow."""

    def __init__(self) -> None:
        super().__init__()
        self.first = tf.Variable(tf.random.normal([1, WIDTH], seed=0))
        self.inner = tf.Variable(tf.random.normal([WIDTH, WIDTH], seed=1) / WIDTH**0.5)
        self.last = tf.Variable(tf.random.normal([WIDTH, OUTPUTS], seed=2))

    @tf.function(input_signature=[tf.TensorSpec([None, INPUTS], tf.float32, name="x")])
    def serve(self, x):
        """A row of 64 numbers -> 10."""
        found = tf.expand_dims(x, 2) * self.first
        for _ in range(LAYERS):
            found = tf.tanh(found @ self.inner)
        return {"y": tf.reduce_mean(found, 1) @ self.last}


network = Network()
tf.saved_model.save(network, sys.argv[1], signatures={"serving_default": network.serve})
