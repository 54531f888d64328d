//===- Problem.h - What a search decides over -------------------*- C++ -*-===//
//
// A chain of blocks on the stages of a pipeline. Each block has choices, which cost time and memory and leave its result in a layout;
// what stands before and after the blocks (embedding and head) has choices of its own. The memory of each stage is a hard limit. Knows
// neither IR nor where costs come from: units are the caller's, seconds and bytes, say.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_SEARCH_PROBLEM_H
#define GALVATRON_SEARCH_PROBLEM_H

#include "llvm/ADT/ArrayRef.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace galvatron::search {

/// What a block, computed in one way, costs a stage.
struct Cost {
  double time = 0;   ///< of a micro-batch, forward and backward, with what it exchanges
  double sync = 0;   ///< more for the last micro-batch: gradients are reduced
  double memory = 0; ///< states, and activations of as many micro-batches as the stage keeps; at least 0
};

/// A way to compute a block.
struct Choice {
  std::vector<Cost> stages; ///< what it costs each of them
  size_t layout = 0;        ///< of what enters the block and leaves it
};

/// Equal blocks one behind the other on a stage: each has the choices of one kind, and their order is free.
struct Run {
  size_t kind = 0;
  int64_t count = 0; ///< at least 1
};

/// A way to compute what stands before and after the blocks, by stage.
struct End {
  std::vector<double> time, memory;
};

/// A linear function of what the stages take: `constant`, and for each stage its part of the time of its blocks, of their `sync`, of what
/// moves between layouts there, and of the time of the ends. But for that of moves, parts may be negative: what a stage does may hide
/// something else.
struct TimeForm {
  double constant = 0;
  std::vector<double> blocks, sync, moves, ends;
};

/// One pipeline: a number of stages with their blocks, a number of micro-batches, a schedule.
struct Problem {
  std::vector<std::vector<Choice>> kinds;   ///< each with at least one choice
  std::vector<std::vector<Run>> stages;     ///< at least one
  std::vector<End> ends;                    ///< at least one
  std::vector<double> capacity;             ///< memory of each stage, which has to hold blocks and ends
  std::vector<TimeForm> forms;              ///< a step takes what the largest of them says; the first is mostly that
  /// Time of moving what is between two blocks of a stage from one layout to another, by both. Empty: moving costs nothing. The search
  /// goes by way of others where that is less.
  std::vector<std::vector<double>> moves;

  size_t getNumStages() const { return stages.size(); }
};

/// Blocks of one run that have one choice.
struct ChosenRun {
  size_t run = 0, choice = 0;
  int64_t count = 0;
};

/// A choice for every block and for the ends.
struct Assignment {
  size_t end = 0;
  std::vector<std::vector<ChosenRun>> stages; ///< as they stand one behind the other
};

/// What an assignment costs.
struct Evaluation {
  double time = 0;                        ///< of a step: the largest form
  std::vector<double> blocks, sync, moves; ///< of each stage
  std::vector<double> memory;              ///< of each stage
  bool fits(const Problem &problem) const;
};

/// Adds up what an assignment costs, block by block, of which nothing but the sizes is checked.
Evaluation evaluate(const Problem &problem, const Assignment &assignment);

/// The cost of moving between layouts by the cheapest way, by both; empty if moving costs nothing.
std::vector<std::vector<double>> getCheapestMoves(const Problem &problem);

} // namespace galvatron::search

#endif
