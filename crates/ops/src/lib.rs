//! Differentiable kernels for candle that training a ResNet needs: convolution, batch normalisation, pooling, activations, cross entropy
