//===- RandomModel.h - Small models, drawn --------------------------------===//
//
// Each model is text in which a hidden state [4, 3, 4] goes through a few steps,
// among them what is hard to cut into micro-batches: the batch in another place,
// merged with other dimensions, in constants, parameters and counts.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_TEST_UNIT_RANDOMMODEL_H
#define GALVATRON_TEST_UNIT_RANDOMMODEL_H

#include "llvm/ADT/StringRef.h"
#include <random>
#include <string>

namespace galvatron::test {

class RandomModel {
public:
  explicit RandomModel(unsigned seed) : random(seed) {}
  /// A module with @forward, whose outputs are `loss`, `y` and `z`.
  std::string draw();

private:
  int64_t pick(int64_t count) { return std::uniform_int_distribution<int64_t>(0, count - 1)(random); }
  double number() { return std::uniform_int_distribution<>(-8, 8)(random) / 8.0; }
  /// Adds a line that makes a value; `op` holds all after the equals sign. Returns the value's name.
  std::string add(const std::string &op);
  std::string parameter(const std::string &sizes);
  std::string constant(const std::string &type, int64_t count);
  void step();

  std::mt19937 random;
  std::string parameters, body, state;
  int64_t next = 0;
};

} // namespace galvatron::test

#endif
