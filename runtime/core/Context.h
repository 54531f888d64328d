// Context.h: what a running program consists of: its table, its memory, its device and its first
// error.
#ifndef GALVATRON_RT_CORE_CONTEXT_H
#define GALVATRON_RT_CORE_CONTEXT_H

#include "comm/Communicator.h"
#include "core/Arena.h"
#include "core/Device.h"
#include "core/Image.h"

#include <numeric>
#include <optional>

struct galvatron_rt_context {
  /// If the arena is shared, ranks in other processes can read it.
  explicit galvatron_rt_context(const galvatron_rt_image *raw, int64_t rank = 0,
                                bool isShared = false)
      : image(raw), rank(rank), arena(image.config().arena_bytes, isShared),
        device(galvatron_rt::makeCpuDevice(image)) {}

  /// Groups that a transport connects: those of the image, and all ranks.
  static int64_t groupCount(const galvatron_rt::Image &image) { return image.groups.size() + 1; }

  /// Connects this rank with those it makes collectives with.
  void join(galvatron_rt::Transport &given) {
    transport = &given;
    for (int64_t group = 0; group < image.groups.size(); ++group)
      communicators.push_back(given.connect(group, image.members(group, rank)));
    const galvatron_rt_config_record &config = image.config();
    for (int64_t stage = 0; stage < config.stages; ++stage)
      channels.push_back(
          stage == config.stage
              ? nullptr
              : given.open(rank + (stage - config.stage) * (config.ranks / config.stages), stage));
    std::vector<int64_t> all(static_cast<size_t>(image.config().ranks));
    std::iota(all.begin(), all.end(), 0);
    everyone = given.connect(image.groups.size(), all);
  }

  /// The largest `value` that a rank brings; all of them come. `what` is what they agree on.
  int64_t agree(const char *what, int64_t value) const {
    return everyone ? everyone->largest({what, "all ranks"}, value) : value;
  }

  void *tensorData(int64_t tensor) const { return arena.data() + image.tensors[tensor].offset; }
  float scalar(int64_t tensor) const { return *static_cast<const float *>(tensorData(tensor)); }

  /// An id out of its range, as it was found in what this rank computes.
  struct StrayId {
    int64_t value, position;
  };

  /// Keeps the first error.
  void record(const char *message) {
    if (!failed)
      error = message;
    failed = true;
  }

  galvatron_rt::Image image;
  int64_t rank;
  galvatron_rt::Arena arena;
  std::unique_ptr<galvatron_rt::Device> device;
  galvatron_rt::Transport *transport = nullptr; // none if there is one rank
  std::vector<std::unique_ptr<galvatron_rt::Communicator>> communicators; // of each group
  std::vector<std::unique_ptr<galvatron_rt::Channel>> channels; // to each stage but its own
  std::unique_ptr<galvatron_rt::Communicator> everyone; // none if there is one rank
  int64_t step = 0; // for messages; 0 outside a step
  bool failed = false;
  std::string error;
  std::optional<StrayId> stray; // what `error` is about
};

#endif // GALVATRON_RT_CORE_CONTEXT_H
