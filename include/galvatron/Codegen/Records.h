//===- Records.h - Descriptors as the records of galvatron_rt.h -----------===//

#ifndef GALVATRON_CODEGEN_RECORDS_H
#define GALVATRON_CODEGEN_RECORDS_H

#include "dialects/RT/RT.h"
#include "galvatron_rt.h"

namespace galvatron {

/// The record that the descriptor stands for; `name` is left 0.
galvatron_rt_matmul_record makeRecord(rt::MatmulDescOp desc);
galvatron_rt_conv_record makeRecord(rt::ConvDescOp desc);

/// The level of the math library for a `--cpu`: "x86-64-v3", "x86-64-v4", or "native" for what this machine has. Nothing
/// for another name.
std::optional<int64_t> getCpuLevel(llvm::StringRef cpu);

} // namespace galvatron

#endif
