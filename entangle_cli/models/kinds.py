"""The closed vocabulary of operation kinds, whatever the file calls them.

ATen (`aten::max_pool2d_with_indices`), ONNX (`MaxPool`) and the quantised operator sets
(`QLinearConv`, `quantized::linear`) map to one short word per idea, so that a layer has the same
name in every file format.
"""

_SPELLINGS = {
    # operations that carry weights
    "conv": "convolution conv1d conv2d conv3d convtranspose conv_transpose1d conv_transpose2d"
    " conv_transpose3d conv_transpose2d_input mkldnn_convolution thnn_conv2d slow_conv_transpose2d"
    " conv_depthwise2d convolution_overrideable cudnn_convolution qlinearconv convinteger fusedconv"
    " nhwcconv nhwcfusedconv qconv conv1d_relu conv2d_relu conv3d_relu conv2d_add_relu deformconv",
    "linear": "addmm mm gemm qgemm fusedgemm addmv linear_relu linear_dynamic linear_relu_dynamic"
    " mkldnn_linear linearclassifier linearregressor",
    "matmul": "bmm baddbmm mv dot einsum qlinearmatmul matmulinteger matmulintegertofloat"
    " fusedmatmul dynamicquantizematmul matmulnbits",
    "embedding": "embedding_bag embeddingbag embed_dim_layernorm embedlayernormalization",
    "rnn": "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer cudnn_rnn miopen_rnn thnn_fused_lstm_cell"
    " thnn_fused_gru_cell lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell dynamicquantizelstm",
    "attention": "mha native_multi_head_attention multi_head_attention_forward multiheadattention"
    " qattention",
    "encoderlayer": "transformer_encoder_layer_fwd",
    # pooling; an average over all positions is `gap` however it was written, and a maximum over
    # any of them `maxpool`, since exporters do not tell the two apart
    "maxpool": "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices"
    " max_pool3d_with_indices mkldnn_max_pool2d nhwcmaxpool quantized_max_pool2d globalmaxpool"
    " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d reducemax amax max.dim",
    "avgpool": "averagepool avg_pool1d avg_pool2d avg_pool3d qlinearaveragepool",
    "gap": "globalaveragepool mean reducemean adaptive_avg_pool1d adaptive_avg_pool2d"
    " adaptive_avg_pool3d qlinearglobalaveragepool qlinearreducemean",
    # normalisation
    "bn": "batchnorm batch_norm native_batch_norm native_batch_norm_legit batchnormalization"
    " native_batch_norm_legit_no_training cudnn_batch_norm batch_norm1d batch_norm2d batch_norm3d"
    " batch_norm_no_update",
    "ln": "layer_norm native_layer_norm layernorm layernormalization skiplayernormalization"
    " simplifiedlayernormalization",
    "rmsnorm": "rms_norm fused_rms_norm rmsnormalization",
    "gn": "group_norm native_group_norm groupnorm groupnormalization",
    "in": "instance_norm instancenormalization",
    "lrn": "local_response_norm",
    # activations
    "relu": "quantized_relu",
    "clip": "hardtanh relu6 clamp clamp_min clamp_max",
    "leakyrelu": "leaky_relu qlinearleakyrelu",
    "gelu": "fastgelu biasgelu quickgelu",
    "silu": "swish",
    "sigmoid": "qlinearsigmoid",
    "logsigmoid": "log_sigmoid log_sigmoid_forward",
    "softmax": "safe_softmax qlinearsoftmax",
    "logsoftmax": "log_softmax",
    "prelu": "prelu_kernel",
    # arithmetic
    "sdpa": "scaled_dot_product_attention scaled_dot_product_flash_attention"
    " scaled_dot_product_flash_attention_for_cpu scaled_dot_product_efficient_attention"
    " scaled_dot_product_attention_math groupqueryattention",
    "add": "qlinearadd add_relu add_scalar",
    "sub": "rsub subtract",
    "mul": "multiply qlinearmul mul_relu mul_scalar",
    "div": "divide true_divide",
    "sum": "reducesum",
    "max": "maximum",
    "min": "reducemin amin minimum",
    "norm": "reducel2 linalg_vector_norm lpnormalization normalizer",
    "concat": "cat stack hstack vstack concatenate qlinearconcat cat_relu sequenceconcat"
    " concatfromsequence",
    "resize": "upsample upsample_nearest1d upsample_nearest2d upsample_nearest3d"
    " upsample_bilinear2d upsample_bicubic2d upsample_linear1d interpolate",
    # the same numbers in another arrangement
    "reshape": "view view_as reshape_as unsafe_view reshape_alias flatten unflatten squeeze"
    " unsqueeze squeeze_copy",
    "transpose": "permute t numpy_t swapaxes movedim moveaxis",
    "slice": "select narrow index index_select gather gathernd gatherelements getitem take"
    " take_along_dim as_strided slice_scatter",
    "expand": "expand_as broadcast_to repeat tile repeat_interleave",
    "split": "chunk unbind split_with_sizes tensor_split unsafe_split unsafe_chunk splittosequence"
    " listunpack tupleunpack unsafe_split_with_sizes",
    "cast": "to to_copy type_as castlike float half double autocast_to_reduced_precision"
    " autocast_to_full_precision",
    "identity": "alias detach clone contiguous lift_fresh lift memcpyfromhost memcpytohost"
    " constantchunk",
    "dropout": "native_dropout feature_dropout alpha_dropout dropout2d dropout3d",
    "pad": "constant_pad_nd reflection_pad2d replication_pad2d reflection_pad1d replication_pad1d",
    "roll": "flip reversesequence",
    "rearrange": "depthtospace spacetodepth pixel_shuffle pixel_unshuffle channel_shuffle",
    "quantize": "quantizelinear dynamicquantizelinear quantize_per_tensor quantize_per_channel"
    " quantize_per_tensor_dynamic",
    "dequantize": "dequantizelinear",
}
_CANONICAL = {
    spelling: kind for kind, spellings in _SPELLINGS.items() for spelling in spellings.split()
}

SHAPE_ONLY = frozenset(
    "reshape transpose slice expand split cast identity dropout pad roll rearrange quantize"
    " dequantize".split()
)
"""Kinds that hand on the same numbers in another shape, order or type: never a row."""

WEIGHTED = frozenset("conv linear matmul embedding rnn bilinear attention encoderlayer".split())
"""Kinds that start a new stretch of the network when one operand is a weight."""


def canonical(op_type: str) -> str:
    """The kind of an operation, from its ATen name, its ONNX type or a function's name.

    Namespace, case and the underscores of in-place and private operations are ignored, and so is
    the overload, unless it does something else: the largest of two (``max.other``) or along an
    axis (``max.dim``). An operation outside the vocabulary keeps its own lower-case name.

    >>> [canonical(x) for x in ("aten::relu_", "Gemm", "quantized::conv2d_relu.new", "Erf")]
    ['relu', 'linear', 'conv', 'erf']
    """
    overloaded = op_type.rsplit("::", 1)[-1].lower()
    name = overloaded.partition(".")[0].strip("_")
    return _CANONICAL.get(overloaded, _CANONICAL.get(name, name))
