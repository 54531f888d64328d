// SampleProgram.cpp: the sample as an executable. SAMPLE in the environment picks variants,
// separated by commas.
#include "Sample.h"

#include <cstdlib>

int main(int argc, char **argv) {
  const char *text = std::getenv("SAMPLE");
  std::string variants = std::string(",") + (text ? text : "") + ",";
  auto has = [&](const char *name) {
    return variants.find(std::string(",") + name + ",") != std::string::npos;
  };
  SampleOptions options;
  options.adamw = has("adamw");
  options.noOptimizer = has("no-optimizer");
  options.randomWeights = has("random");
  if (has("64-threads"))
    options.threads = 64;
  if (has("2-ranks"))
    options.ranks = 2;
  if (has("spare-gibibyte"))
    options.spareBytes = int64_t(1) << 30;
  if (has("spare-64-tebibytes"))
    options.spareBytes = int64_t(64) << 40;
  if (has("amx"))
    options.features = "avx2,amx-fp16";
  ImageBuilder builder;
  buildSample(builder, options);
  return galvatron_rt_main(argc, argv, builder.build());
}
