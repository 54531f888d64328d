// Checkpoints.cpp: see Checkpoints.h.
#include "core/Checkpoints.h"

namespace galvatron_rt {

Checkpoints::Checkpoints(galvatron_rt_context &context, const Options &options)
    : context(context), path(options.checkpoint), folder(options.checkpoint), steps(options.steps),
      every(options.every) {
  checkHasCheckpoints(context.image);
  if (context.rank == 0) {
    folder.open();
    find(options.resume);
  }
  saver = std::make_unique<WeightsSaver>(context, folder.pathOf(0), WeightsSaver::Kind::Checkpoint);
}

void Checkpoints::find(bool resume) {
  std::vector<CheckpointFolder::Checkpoint> all = folder.list();
  if (all.empty())
    return;
  const CheckpointFolder::Checkpoint &last = all.back();
  if (!resume)
    fail("folder '", path, "' has checkpoints of an earlier run, the last one after step ", last.step,
         "; go on from it with --resume, or begin in another folder");
  try {
    startStep = readStep(last.path);
  } catch (const Error &e) {
    // Somebody damaged it: to lose the steps since the one before is not for a program to decide.
    if (all.size() < 2)
      throw;
    fail(e.what(), "\nmove it away to go on from '", all[all.size() - 2].path, "'");
  }
  if (startStep != last.step)
    fail("file '", last.path, "': it was written after step ", startStep,
         ", which is not what its name says");
  if (startStep > steps)
    fail("file '", last.path, "': it was written after step ", startStep, ", --steps is ", steps);
  checkCheckpoint(context.image, last.path);
}

std::string Checkpoints::origin() const {
  if (!startStep)
    return concat("no checkpoint in '", path, "': it begins with step 1");
  if (startStep == steps)
    return concat("'", pathOf(startStep), "' was written after step ", startStep, " of ", steps,
                  ": nothing is left to train; with more --steps it would go on");
  return concat("it goes on from '", pathOf(startStep), "', after step ", startStep, " of ", steps);
}

void Checkpoints::agree() { startStep = context.agree("the checkpoint to go on from", startStep); }

void Checkpoints::load() const {
  if (startStep)
    loadWeights(context, pathOf(startStep), LoadScope::Checkpoint);
}

void Checkpoints::save(int64_t step) {
  saver->save(pathOf(step), step);
  if (context.rank == 0)
    folder.keepLast(2);
}

} // namespace galvatron_rt
