//===- FindRunsTest.cpp - Where sequences repeat, and where they are cut --===//

#include "Training/FindRuns.h"

#include <gtest/gtest.h>

using namespace galvatron;

namespace {

using Repeat = galvatron::Run; // testing::Test has a Run, too

/// Keys written as letters; every run that the keys allow is one, unless `verify` says otherwise.
llvm::SmallVector<Repeat> runsOf(const std::string &text, llvm::ArrayRef<CutCost> cuts = {},
                            llvm::function_ref<Repeat(Repeat)> verify = [](Repeat run) { return run; }) {
  llvm::SmallVector<unsigned> keys(text.begin(), text.end());
  llvm::SmallVector<CutCost> none(keys.size() + 1, CutCost{1, 1});
  return findRuns(keys, cuts.empty() ? llvm::ArrayRef<CutCost>(none) : cuts, verify);
}

using Runs = llvm::SmallVector<Repeat>;

} // namespace

TEST(FindRuns, NothingRepeats) {
  EXPECT_EQ(runsOf(""), Runs());
  EXPECT_EQ(runsOf("abcdefgh"), Runs());
}

TEST(FindRuns, TheSmallestPeriodCovers) { EXPECT_EQ(runsOf("xabcabcabcabcy"), (Runs{{1, 3, 4}})); }

TEST(FindRuns, SingleKeysAreNoBlocks) {
  EXPECT_EQ(runsOf("xaaaaaay"), Runs());
  EXPECT_EQ(runsOf("xababababy"), (Runs{{1, 2, 4}}));
}

TEST(FindRuns, SeveralRunsComeInOrder) { EXPECT_EQ(runsOf("sabcabcabctuvwxuvwxuvwxz"), (Runs{{1, 3, 3}, {11, 4, 3}})); }

TEST(FindRuns, ANearMissEndsTheRun) { EXPECT_EQ(runsOf("abcdabcdabcdabXdabcd"), (Runs{{0, 4, 3}})); }

// Every key appears twice in a layer, so that neighbouring equal keys do not give the period.
TEST(FindRuns, LongGramsFindThePeriod) {
  std::string layer = "aabcbdcdefef";
  EXPECT_EQ(runsOf(layer + layer + layer), (Runs{{0, 12, 3}}));
}

// The keys allow any rotation; the cut where the least crosses wins, although it loses an instance.
TEST(FindRuns, TheCheapestCutWins) {
  std::string text = "abcabcabc";
  llvm::SmallVector<CutCost> cuts;
  for (size_t i = 0; i <= text.size(); ++i)
    cuts.push_back({i % 3 == 2 ? 1 : 2, 8});
  EXPECT_EQ(runsOf(text, cuts), (Runs{{2, 3, 2}}));
}

TEST(FindRuns, EqualCutsKeepAllInstances) { EXPECT_EQ(runsOf("abcabcabcab"), (Runs{{0, 3, 3}})); }

// Equal keys are a hint. What the verifier leaves of a run is taken, and the rest is searched again.
TEST(FindRuns, TheVerifierDecides) {
  EXPECT_EQ(runsOf("abcabcabc", {}, [](Repeat) { return Repeat(); }), Runs());
  auto withoutFirst = [](Repeat run) { return run.begin ? run : Repeat{run.begin + run.period, run.period, run.count - 1}; };
  EXPECT_EQ(runsOf("abcabcabc", {}, withoutFirst), (Runs{{3, 3, 2}}));
}

// 126 layers of 60 ops, as in the largest model that is imported.
TEST(FindRuns, DeepSequences) {
  std::string layer;
  for (int i = 0; i < 60; ++i)
    layer += char('!' + i * 7 % 23);
  std::string text = "?";
  for (int i = 0; i < 126; ++i)
    text += layer;
  EXPECT_EQ(runsOf(text), (Runs{{1, 60, 126}}));
}
