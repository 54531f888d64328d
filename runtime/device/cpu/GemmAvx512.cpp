// GemmAvx512.cpp: the inner kernel of gemm() for x86-64-v4: 6 x 64 results in 24 of 32 registers.
#include "device/cpu/GemmKernel.h"

namespace galvatron_rt {
const GemmKernel gemmKernelAvx512 = {6, 64, 128, Kernels<16, 4, 6, 128>::run};
} // namespace galvatron_rt
