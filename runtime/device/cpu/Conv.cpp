// Conv.cpp: see Conv.h. oneDNN's fast convolutions want blocked layouts; tensors of a program are
// row-major. So the kernel chooses its layouts, and operands that differ are copied into and out of
// the caller's scratch memory.
#include "device/cpu/Conv.h"

#include <cstring>

namespace galvatron_rt {
namespace {

using dnnl::memory;

struct Shapes {
  memory::dims src, weights, bias, dst, strides, dilations, padsBegin, padsEnd;
};

Shapes checkRecord(const galvatron_rt_conv_record &r, const std::string &what) {
  if (r.direction < 0 || r.direction > GALVATRON_RT_CONV_BACKWARD_WEIGHTS)
    fail(what, " has direction ", r.direction);
  if (r.flags & ~GALVATRON_RT_MATMUL_HAS_BIAS)
    fail(what, " has unknown flags ", r.flags);
  if (r.flags && r.direction == GALVATRON_RT_CONV_BACKWARD_DATA)
    fail(what, " computes a gradient of its input, which has no bias");
  if (r.spatial_rank < 1 || r.spatial_rank > 3)
    fail(what, " has ", r.spatial_rank, " spatial dimensions, wanted 1 to 3");
  if (r.batch < 1 || r.in_channels < 1 || r.out_channels < 1 || r.groups < 1 ||
      r.in_channels % r.groups || r.out_channels % r.groups)
    fail(what, " has batch ", r.batch, ", ", r.in_channels, " to ", r.out_channels, " channels in ",
         r.groups, " groups");
  Shapes s;
  s.src = {r.batch, r.in_channels};
  s.dst = {r.batch, r.out_channels};
  s.bias = {r.out_channels};
  if (r.groups > 1)
    s.weights = {r.groups, r.out_channels / r.groups, r.in_channels / r.groups};
  else
    s.weights = {r.out_channels, r.in_channels};
  for (int64_t d = 0; d < r.spatial_rank; ++d) {
    if (r.src[d] < 1 || r.kernel[d] < 1 || r.strides[d] < 1 || r.dilations[d] < 1 ||
        r.pads_begin[d] < 0 || r.pads_end[d] < 0)
      fail(what, " has size ", r.src[d], ", kernel ", r.kernel[d], ", stride ", r.strides[d],
           ", dilation ", r.dilations[d], ", padding ", r.pads_begin[d], " and ", r.pads_end[d],
           " in spatial dimension ", d);
    int64_t window = (r.kernel[d] - 1) * r.dilations[d] + 1;
    int64_t padded = r.src[d] + r.pads_begin[d] + r.pads_end[d];
    int64_t expected = padded < window ? 0 : (padded - window) / r.strides[d] + 1;
    if (r.dst[d] < 1 || r.dst[d] != expected)
      fail(what, " has result size ", r.dst[d], " in spatial dimension ", d, ", wanted ", expected);
    s.src.push_back(r.src[d]);
    s.weights.push_back(r.kernel[d]);
    s.dst.push_back(r.dst[d]);
    s.strides.push_back(r.strides[d]);
    s.dilations.push_back(r.dilations[d] - 1);
    s.padsBegin.push_back(r.pads_begin[d]);
    // oneDNN computes the result's size from the padding, so what a stride leaves over is taken
    // off.
    s.padsEnd.push_back((r.dst[d] - 1) * r.strides[d] + window - r.src[d] - r.pads_begin[d]);
  }
  return s;
}

memory::desc rowMajor(const memory::dims &dims) {
  memory::dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;)
    strides[i - 1] = strides[i] * dims[i];
  return memory::desc(dims, memory::data_type::f32, strides);
}

memory::desc anyLayout(const memory::dims &dims) {
  return memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
}

dnnl::primitive_attr userScratch() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

/// Goes past kernels that pack into memory of their own, unless only the reference loops follow.
template <typename Desc> Desc preferScratch(Desc first) {
  Desc candidate = first;
  for (;;) {
    std::string name = candidate.impl_info_str();
    if (name.find("gemm") == std::string::npos)
      return name.compare(0, 3, "ref") == 0 ? first : candidate;
    if (!candidate.next_impl())
      return first;
  }
}

} // namespace

int64_t Conv::reserve(int64_t bytes) {
  int64_t offset = total;
  total += (bytes + 63) / 64 * 64;
  return offset;
}

void Conv::addOperand(int index, const memory::desc &plain, const memory::desc &used,
                      bool isResult) {
  Operand operand;
  operand.index = index;
  operand.plain = plain;
  operand.used = used;
  operand.isResult = isResult;
  if (plain != used) {
    operand.copyOffset = reserve(static_cast<int64_t>(used.get_size()));
    const dnnl::engine &engine = cpuEngine();
    operand.reorderDesc.emplace(engine, isResult ? used : plain, engine, isResult ? plain : used,
                                userScratch());
    operand.reorderScratch =
        reserve(static_cast<int64_t>(operand.reorderDesc->scratchpad_desc().get_size()));
  }
  operands.push_back(operand);
}

template <typename PrimitiveDesc> void Conv::take(PrimitiveDesc desc) {
  name = desc.impl_info_str();
  scratchDesc = desc.scratchpad_desc();
  kernelScratch = reserve(static_cast<int64_t>(scratchDesc.get_size()));
}

Conv::Conv(const galvatron_rt_conv_record &r, const std::string &what)
    : what(what), hasBias(r.flags & GALVATRON_RT_MATMUL_HAS_BIAS) {
  Shapes s = checkRecord(r, what);
  withLibrary(what, [&] {
    using Forward = dnnl::convolution_forward;
    using Data = dnnl::convolution_backward_data;
    using Weights = dnnl::convolution_backward_weights;
    memory::desc src = anyLayout(s.src), weights = anyLayout(s.weights), dst = anyLayout(s.dst);
    memory::desc bias = hasBias ? rowMajor(s.bias) : memory::desc();
    const auto algorithm = dnnl::algorithm::convolution_direct;
    bool isForward = r.direction == GALVATRON_RT_CONV_FORWARD;
    Forward::desc forward(
        isForward ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training,
        algorithm, src, weights, bias, dst, s.strides, s.dilations, s.padsBegin, s.padsEnd);
    dnnl::convolution_forward::primitive_desc forwardDesc(forward, userScratch(), cpuEngine());
    switch (static_cast<galvatron_rt_conv_direction>(r.direction)) {
    case GALVATRON_RT_CONV_FORWARD: {
      Forward::primitive_desc desc = preferScratch(forwardDesc);
      addOperand(DNNL_ARG_SRC, rowMajor(s.src), desc.src_desc(), false);
      addOperand(DNNL_ARG_WEIGHTS, rowMajor(s.weights), desc.weights_desc(), false);
      addOperand(DNNL_ARG_DST, rowMajor(s.dst), desc.dst_desc(), true);
      if (hasBias)
        addOperand(DNNL_ARG_BIAS, bias, desc.bias_desc(), false);
      take(desc);
      build = [desc] { return Forward(desc); };
      break;
    }
    case GALVATRON_RT_CONV_BACKWARD_DATA: {
      Data::desc backward(algorithm, src, weights, dst, s.strides, s.dilations, s.padsBegin,
                          s.padsEnd);
      Data::primitive_desc desc =
          preferScratch(Data::primitive_desc(backward, userScratch(), cpuEngine(), forwardDesc));
      addOperand(DNNL_ARG_DIFF_SRC, rowMajor(s.src), desc.diff_src_desc(), true);
      addOperand(DNNL_ARG_WEIGHTS, rowMajor(s.weights), desc.weights_desc(), false);
      addOperand(DNNL_ARG_DIFF_DST, rowMajor(s.dst), desc.diff_dst_desc(), false);
      take(desc);
      build = [desc] { return Data(desc); };
      break;
    }
    case GALVATRON_RT_CONV_BACKWARD_WEIGHTS: {
      Weights::desc backward(algorithm, src, weights, bias, dst, s.strides, s.dilations,
                             s.padsBegin, s.padsEnd);
      Weights::primitive_desc desc =
          preferScratch(Weights::primitive_desc(backward, userScratch(), cpuEngine(), forwardDesc));
      addOperand(DNNL_ARG_SRC, rowMajor(s.src), desc.src_desc(), false);
      addOperand(DNNL_ARG_DIFF_WEIGHTS, rowMajor(s.weights), desc.diff_weights_desc(), true);
      addOperand(DNNL_ARG_DIFF_DST, rowMajor(s.dst), desc.diff_dst_desc(), false);
      if (hasBias)
        addOperand(DNNL_ARG_DIFF_BIAS, bias, desc.diff_bias_desc(), true);
      take(desc);
      build = [desc] { return Weights(desc); };
      break;
    }
    }
  });
}

void Conv::prepare() {
  withLibrary(what, [&] {
    std::vector<std::pair<int, memory::desc>> arguments;
    for (Operand &operand : operands) {
      arguments.push_back({operand.index, operand.used});
      if (operand.reorderDesc) {
        const memory::desc &from = operand.isResult ? operand.used : operand.plain;
        const memory::desc &to = operand.isResult ? operand.plain : operand.used;
        operand.reorder =
            BoundPrimitive(dnnl::reorder(*operand.reorderDesc),
                           {{DNNL_ARG_FROM, from},
                            {DNNL_ARG_TO, to},
                            {DNNL_ARG_SCRATCHPAD, operand.reorderDesc->scratchpad_desc()}});
      }
    }
    arguments.push_back({DNNL_ARG_SCRATCHPAD, scratchDesc});
    primitive = BoundPrimitive(build(), arguments);
  });
}

void Conv::run(void *src, void *weights, void *bias, void *dst, void *scratch) {
  if (hasBias && !bias)
    fail(what, " needs a bias and got none");
  if (total && !scratch)
    fail(what, " needs ", total, " bytes of scratch memory and got none");
  char *base = static_cast<char *>(scratch);
  void *plain[] = {src, weights, dst, bias};
  void *used[5];
  size_t n = operands.size();
  for (size_t i = 0; i < n; ++i) {
    Operand &operand = operands[i];
    used[i] = operand.reorderDesc ? base + operand.copyOffset : plain[i];
    if (operand.reorderDesc && !operand.isResult) {
      void *pointers[] = {plain[i], used[i], base + operand.reorderScratch};
      operand.reorder.run(what.c_str(), pointers);
    }
  }
  used[n] = base + kernelScratch;
  primitive.run(what.c_str(), used);
  for (size_t i = 0; i < n; ++i) {
    Operand &operand = operands[i];
    if (operand.reorderDesc && operand.isResult) {
      void *pointers[] = {used[i], plain[i], base + operand.reorderScratch};
      operand.reorder.run(what.c_str(), pointers);
    }
  }
}

} // namespace galvatron_rt
