//! Margin classifiers for few-shot learning on candle: softmax, cosine, neg-softmax and neg-cosine
