"""Layers of keras_cnn.py for training in TensorFlow: with the same weights and results as Keras's own, but faster."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import layers, ops


class FusedBatchNormalization(layers.BatchNormalization):
    """Batch norm by TensorFlow's fused kernel, with the same results.

    In training, Keras computes batch norm in a dozen passes over the map: half the time of a step of the plain recipe
    on a CPU.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return super().call(inputs, training=training, mask=mask)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.convert_to_tensor(self.gamma),
            offset=ops.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        n = ops.cast(ops.size(inputs) / ops.shape(inputs)[-1], variance.dtype)
        variance = variance * (n - 1) / n  # the kernel divides by n - 1, Keras by n
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return y


class ConvolutionWithOwnBiasGradient(layers.Conv2D):
    """Conv2D with the same results, but the bias's gradient is computed apart from the kernel's.

    On a CPU, TensorFlow merges both into one operation of oneDNN, which takes two to four times as long as the two.
    """

    def call(self, inputs: Any) -> Any:
        bias = tf.identity(ops.convert_to_tensor(self.bias))  # a custom gradient takes no variables
        return self.activation(_add_bias(self.convolution_op(inputs, self.kernel), bias))


@tf.custom_gradient
def _add_bias(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """x (..., C) + bias (C,)."""

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # TensorFlow merges the operations only if both take the same tensor, so this one takes a reshaped one
        return dy, tf.raw_ops.BiasAddGrad(out_backprop=tf.reshape(dy, (-1, tf.shape(dy)[-1])))

    return tf.nn.bias_add(x, bias), gradient
