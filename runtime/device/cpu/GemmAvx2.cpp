// GemmAvx2.cpp: the inner kernel of gemm() for x86-64-v3: 6 x 16 results in 12 of 16 registers.
#include "device/cpu/GemmKernel.h"

namespace galvatron_rt {
const GemmKernel gemmKernelAvx2 = {6, 16, 256, Kernels<8, 2, 6, 256>::run};
} // namespace galvatron_rt
