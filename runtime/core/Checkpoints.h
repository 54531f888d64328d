// Checkpoints.h: the checkpoints of a run: where it goes on, and when the next one is due.
#ifndef GALVATRON_RT_CORE_CHECKPOINTS_H
#define GALVATRON_RT_CORE_CHECKPOINTS_H

#include "checkpoint/Folder.h"
#include "checkpoint/Weights.h"
#include "core/Options.h"

namespace galvatron_rt {

class Checkpoints {
public:
  /// On the first rank: opens the folder and checks the checkpoint that the run goes on from, and that
  /// none would be lost if it begins anew. `options.steps` is the whole run's.
  Checkpoints(galvatron_rt_context &context, const Options &options);

  /// The step that the run goes on after, 0 = it begins. Other ranks know it from agree() on.
  int64_t start() const { return startStep; }
  /// Where start() comes from: a line for people.
  std::string origin() const;
  /// All ranks come here once: they go on from what the first one has found.
  void agree();
  /// Fills parameters and optimizer state, if start() is not 0.
  void load() const;

  /// Whether there is to be one after this step in any case.
  bool isDue(int64_t step) const { return step == steps || (every && step % every == 0); }
  /// All ranks come here: the first one writes. The two last ones are kept.
  void save(int64_t step);
  std::string pathOf(int64_t step) const { return folder.pathOf(step); }

private:
  void find(bool resume);

  galvatron_rt_context &context;
  std::string path;
  CheckpointFolder folder;
  int64_t steps, every, startStep = 0;
  std::unique_ptr<WeightsSaver> saver;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_CHECKPOINTS_H
