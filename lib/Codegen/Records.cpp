//===- Records.cpp - Descriptors as the records of galvatron_rt.h ---------===//

#include "galvatron/Codegen/Records.h"

#include <algorithm>

using namespace mlir;
using namespace galvatron;

static void copyTo(int64_t *target, ArrayRef<int64_t> source) { std::copy(source.begin(), source.end(), target); }

galvatron_rt_matmul_record galvatron::makeRecord(rt::MatmulDescOp desc) {
  galvatron_rt_matmul_record record = {};
  record.flags = (desc.getBias() ? GALVATRON_RT_MATMUL_HAS_BIAS : 0) |
                 (desc.getAccumulate() ? GALVATRON_RT_MATMUL_ACCUMULATE : 0);
  record.batch_rank = desc.getBatch().size();
  copyTo(record.batch, desc.getBatch());
  record.m = desc.getM();
  record.n = desc.getN();
  record.k = desc.getK();
  copyTo(record.lhs_batch_strides, desc.getLhsBatch());
  copyTo(record.lhs_strides, desc.getLhs());
  copyTo(record.rhs_batch_strides, desc.getRhsBatch());
  copyTo(record.rhs_strides, desc.getRhs());
  copyTo(record.out_batch_strides, desc.getOutBatch());
  copyTo(record.out_strides, desc.getOut());
  record.scratch_bytes = desc.getScratch().value_or(0);
  return record;
}

galvatron_rt_conv_record galvatron::makeRecord(rt::ConvDescOp desc) {
  galvatron_rt_conv_record record = {};
  record.direction = static_cast<int64_t>(desc.getDirection());
  record.flags = desc.getBias() ? GALVATRON_RT_MATMUL_HAS_BIAS : 0;
  record.spatial_rank = desc.getSrc().size();
  record.batch = desc.getBatch();
  record.in_channels = desc.getInChannels();
  record.out_channels = desc.getOutChannels();
  record.groups = desc.getGroups();
  copyTo(record.src, desc.getSrc());
  copyTo(record.kernel, desc.getKernel());
  copyTo(record.dst, desc.getDst());
  copyTo(record.strides, desc.getStrides());
  copyTo(record.dilations, desc.getDilations());
  copyTo(record.pads_begin, desc.getPadsBegin());
  copyTo(record.pads_end, desc.getPadsEnd());
  record.scratch_bytes = desc.getScratch().value_or(0);
  return record;
}

std::optional<int64_t> galvatron::getCpuLevel(StringRef cpu) {
  if (cpu == "x86-64-v3")
    return GALVATRON_RT_CPU_X86_64_V3;
  if (cpu == "x86-64-v4")
    return GALVATRON_RT_CPU_X86_64_V4;
  if (cpu == "native")
    return galvatron_rt_cpu_level_present(GALVATRON_RT_CPU_X86_64_V4) ? GALVATRON_RT_CPU_X86_64_V4
                                                                      : GALVATRON_RT_CPU_X86_64_V3;
  return std::nullopt;
}
