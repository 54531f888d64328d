// Cpu.cpp: features by their LLVM names, asked with CPUID. A vector feature counts only if the
// operating system saves its registers (XCR0).
#include "core/Cpu.h"

#include "galvatron_rt.h"

#include <cpuid.h>
#include <cstring>
#include <sched.h>

namespace galvatron_rt {
namespace {

enum Register { EAX, EBX, ECX, EDX };

// Bits of XCR0 that must be set for the registers a feature uses.
constexpr uint64_t noState = 0;
constexpr uint64_t avxState = 0x6;
constexpr uint64_t avx512State = 0xe6;
constexpr uint64_t amxState = 0x60000;

struct Feature {
  const char *name;
  uint32_t leaf, subleaf;
  Register reg;
  int bit;
  uint64_t state;
};

const Feature features[] = {
    {"cx8", 1, 0, EDX, 8, noState},
    {"cmov", 1, 0, EDX, 15, noState},
    {"mmx", 1, 0, EDX, 23, noState},
    {"fxsr", 1, 0, EDX, 24, noState},
    {"sse", 1, 0, EDX, 25, noState},
    {"sse2", 1, 0, EDX, 26, noState},
    {"sse3", 1, 0, ECX, 0, noState},
    {"pclmul", 1, 0, ECX, 1, noState},
    {"ssse3", 1, 0, ECX, 9, noState},
    {"fma", 1, 0, ECX, 12, avxState},
    {"cx16", 1, 0, ECX, 13, noState},
    {"sse4.1", 1, 0, ECX, 19, noState},
    {"sse4.2", 1, 0, ECX, 20, noState},
    {"crc32", 1, 0, ECX, 20, noState},
    {"movbe", 1, 0, ECX, 22, noState},
    {"popcnt", 1, 0, ECX, 23, noState},
    {"aes", 1, 0, ECX, 25, noState},
    {"xsave", 1, 0, ECX, 26, noState},
    {"avx", 1, 0, ECX, 28, avxState},
    {"f16c", 1, 0, ECX, 29, avxState},
    {"rdrnd", 1, 0, ECX, 30, noState},
    {"fsgsbase", 7, 0, EBX, 0, noState},
    {"bmi", 7, 0, EBX, 3, noState},
    {"avx2", 7, 0, EBX, 5, avxState},
    {"bmi2", 7, 0, EBX, 8, noState},
    {"invpcid", 7, 0, EBX, 10, noState},
    {"avx512f", 7, 0, EBX, 16, avx512State},
    {"avx512dq", 7, 0, EBX, 17, avx512State},
    {"rdseed", 7, 0, EBX, 18, noState},
    {"adx", 7, 0, EBX, 19, noState},
    {"avx512ifma", 7, 0, EBX, 21, avx512State},
    {"clflushopt", 7, 0, EBX, 23, noState},
    {"clwb", 7, 0, EBX, 24, noState},
    {"avx512cd", 7, 0, EBX, 28, avx512State},
    {"sha", 7, 0, EBX, 29, noState},
    {"avx512bw", 7, 0, EBX, 30, avx512State},
    {"avx512vl", 7, 0, EBX, 31, avx512State},
    {"avx512vbmi", 7, 0, ECX, 1, avx512State},
    {"avx512vbmi2", 7, 0, ECX, 6, avx512State},
    {"gfni", 7, 0, ECX, 8, noState},
    {"vaes", 7, 0, ECX, 9, avxState},
    {"vpclmulqdq", 7, 0, ECX, 10, avxState},
    {"avx512vnni", 7, 0, ECX, 11, avx512State},
    {"avx512bitalg", 7, 0, ECX, 12, avx512State},
    {"avx512vpopcntdq", 7, 0, ECX, 14, avx512State},
    {"movdiri", 7, 0, ECX, 27, noState},
    {"movdir64b", 7, 0, ECX, 28, noState},
    {"avx512vp2intersect", 7, 0, EDX, 8, avx512State},
    {"amx-bf16", 7, 0, EDX, 22, amxState},
    {"avx512fp16", 7, 0, EDX, 23, avx512State},
    {"amx-tile", 7, 0, EDX, 24, amxState},
    {"amx-int8", 7, 0, EDX, 25, amxState},
    {"avxvnni", 7, 1, EAX, 4, avxState},
    {"avx512bf16", 7, 1, EAX, 5, avx512State},
    {"amx-fp16", 7, 1, EAX, 21, amxState},
    {"avxifma", 7, 1, EAX, 23, avxState},
    {"xsaveopt", 0xd, 1, EAX, 0, noState},
    {"xsavec", 0xd, 1, EAX, 1, noState},
    {"xsaves", 0xd, 1, EAX, 3, noState},
    {"sahf", 0x80000001, 0, ECX, 0, noState},
    {"lzcnt", 0x80000001, 0, ECX, 5, noState},
    {"sse4a", 0x80000001, 0, ECX, 6, noState},
    {"prfchw", 0x80000001, 0, ECX, 8, noState},
    {"64bit", 0x80000001, 0, EDX, 29, noState},
};

const Feature *find(const char *name) {
  for (const Feature &feature : features)
    if (!std::strcmp(feature.name, name))
      return &feature;
  return nullptr;
}

uint64_t savedRegisters() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)))
    return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t(high) << 32) | low;
}

bool present(const Feature &feature) {
  uint32_t out[4];
  if (!__get_cpuid_count(feature.leaf, feature.subleaf, &out[EAX], &out[EBX], &out[ECX], &out[EDX]))
    return false;
  if (!(out[feature.reg] >> feature.bit & 1))
    return false;
  return (savedRegisters() & feature.state) == feature.state;
}

} // namespace

std::vector<std::string> splitFeatures(const std::string &list) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin < list.size()) {
    size_t end = std::min(list.find(',', begin), list.size());
    parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<std::string> levelFeatures(int64_t level) {
  std::vector<std::string> names;
  if (level != GALVATRON_RT_CPU_X86_64_V3 && level != GALVATRON_RT_CPU_X86_64_V4)
    return names;
  names = {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt"};
  if (level == GALVATRON_RT_CPU_X86_64_V4)
    for (const char *name : {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
      names.push_back(name);
  return names;
}

std::vector<std::string> missingFeatures(const std::vector<std::string> &wanted) {
  std::vector<std::string> missing;
  for (const std::string &name : wanted)
    if (!galvatron_rt_cpu_feature_present(name.c_str()))
      missing.push_back(name);
  return missing;
}

int availableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set))
    return 1;
  return CPU_COUNT(&set);
}

} // namespace galvatron_rt

extern "C" int galvatron_rt_cpu_feature_known(const char *name) {
  return name && galvatron_rt::find(name) != nullptr;
}

extern "C" int galvatron_rt_cpu_feature_present(const char *name) {
  const galvatron_rt::Feature *feature = name ? galvatron_rt::find(name) : nullptr;
  return feature && galvatron_rt::present(*feature);
}

extern "C" int galvatron_rt_cpu_level_present(int64_t level) {
  std::vector<std::string> wanted = galvatron_rt::levelFeatures(level);
  return !wanted.empty() && galvatron_rt::missingFeatures(wanted).empty();
}
