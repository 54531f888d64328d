//===- HetuInputs.h - The profiles that tests of lib/Search/Hetu read -----===//

#ifndef GALVATRON_TEST_UNIT_HETUINPUTS_H
#define GALVATRON_TEST_UNIT_HETUINPUTS_H

#include "galvatron/Search/Hetu/CostModel.h"

#include "gtest/gtest.h"

namespace galvatron::hetu {

/// Where the published files are.
inline const std::string inputs = GALVATRON_HETU_INPUTS;

inline void failOn(const llvm::Twine &message) { ADD_FAILURE() << message.str(); }

/// What a model is made of: LLaMA-2-7B at 2048 tokens on 1 x 8 GPUs, unless a test changes it.
struct Inputs {
  std::string computation = inputs + "/main/galvatron/models/gpt/configs/computation_profiling_bf16_llama2-7b_all.json";
  std::string memory = inputs + "/main/galvatron/models/gpt/configs/memory_profiling_bf16_llama2-7b_all.json";
  std::string hardware = inputs + "/main/galvatron/profile_hardware/hardware_configs";
  TimeMode timeMode = TimeMode::Batch;
  MemoryMode memoryMode = MemoryMode::Static;
  Settings settings;
  std::map<std::pair<int64_t, bool>, double> bandwidths; ///< instead of those of the profile

  Inputs() {
    settings.sequence = 2048;
    settings.hidden = 4096;
    settings.layers = 32;
  }
  CostModel make() const {
    auto links = readHardwareProfile(hardware, 1, 8, failOn);
    auto times = readComputationProfile(computation, timeMode, {settings.sequence}, failOn);
    auto megabytes = readMemoryProfile(memory, memoryMode, {settings.sequence}, settings.sequenceParallel, failOn);
    EXPECT_TRUE(links && times && megabytes);
    for (auto [group, bandwidth] : bandwidths)
      links->allReduceBandwidth[group] = bandwidth;
    std::optional<CostModel> model = CostModel::make(*links, *times, *megabytes, settings, failOn);
    EXPECT_TRUE(model.has_value());
    return *model;
  }
};

} // namespace galvatron::hetu

#endif
