//! Few-shot backbones on candle: Conv4, ResNet-10/12/18 and WRN-28-10 with DropBlock
