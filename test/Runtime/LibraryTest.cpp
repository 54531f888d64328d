// LibraryTest.cpp: oneDNN keeps one CPU level per process, and what it refuses is said.
#include "device/cpu/Library.h"
#include "ImageBuilder.h"
#include "core/Cpu.h"
#include "device/cpu/Matmul.h"

#include <gtest/gtest.h>

using namespace galvatron_rt;

namespace {

galvatron_rt_matmul_record smallMatmul() {
  galvatron_rt_matmul_record r = {};
  r.m = r.n = r.k = 2;
  r.lhs_strides[0] = r.rhs_strides[0] = r.out_strides[0] = 2;
  r.lhs_strides[1] = r.rhs_strides[1] = r.out_strides[1] = 1;
  return r;
}

/// What the library says about a matmul at a level, "" if it takes it.
std::string complaint(int64_t level) {
  galvatron_rt_matmul_record record = smallMatmul();
  int64_t bytes;
  char error[256] = "";
  galvatron_rt_matmul_scratch_bytes(&record, 1, level, &bytes, error, sizeof(error));
  return error;
}

/// Says the complaint and ends, for a process of its own.
void complainAndExit(int64_t level) {
  std::string text = complaint(level);
  std::fprintf(stderr, "%s\n", text.c_str());
  std::exit(text.empty() ? 0 : 1);
}

/// A level is chosen once in a process; a test that needs a fresh one runs itself again there.
class LibraryDeathTest : public testing::Test {
protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(LibraryDeathTest, KeepsItsLevel) {
  ASSERT_EQ(complaint(testLevel()), "");
  std::string level = std::to_string(testLevel()), other = std::to_string(7 - testLevel());
  EXPECT_EQ(complaint(7 - testLevel()), "this process already uses oneDNN at cpu level x86-64-v" +
                                            level + " and cannot change to x86-64-v" + other);
  EXPECT_EQ(complaint(2), "there is no cpu level 2");
  EXPECT_EQ(complaint(testLevel()), "");
}

TEST_F(LibraryDeathTest, NamesWhatTheProcessorLacks) {
  const int64_t level = GALVATRON_RT_CPU_X86_64_V4;
  std::vector<std::string> missing = missingFeatures(levelFeatures(level));
  if (missing.empty())
    GTEST_SKIP() << "this processor has every level";
  EXPECT_EXIT(complainAndExit(level), testing::ExitedWithCode(1),
              "this processor lacks " + missing[0] + ", which cpu level x86-64-v4 needs");
}

// Who uses oneDNN beside the runtime may have fixed the level already.
TEST_F(LibraryDeathTest, ComesTooLateWhenOneDnnWasUsedBefore) {
  EXPECT_EXIT(
      {
        Matmul used(smallMatmul(), 1, testLevel(), "a matmul");
        complainAndExit(testLevel());
      },
      testing::ExitedWithCode(1),
      "oneDNN was used before its cpu level could be set to x86-64-v" +
          std::to_string(testLevel()));
}

TEST_F(LibraryDeathTest, SaysWhatOneDnnRefusesToRun) {
  using dnnl::memory;
  ASSERT_EQ(complaint(testLevel()), "");
  memory::desc matrix({2, 2}, memory::data_type::f32, memory::format_tag::ab);
  dnnl::matmul product({dnnl::matmul::desc(matrix, matrix, matrix), cpuEngine()});
  // The second matrix is missing.
  BoundPrimitive bound(product, {{DNNL_ARG_SRC, matrix}, {DNNL_ARG_DST, matrix}});
  float x[4] = {};
  void *pointers[] = {x, x};
  std::string error;
  try {
    bound.run("matmul 'head'", pointers);
  } catch (const Error &e) {
    error = e.what();
  }
  EXPECT_EQ(error, "matmul 'head': oneDNN failed with status 2");
}

} // namespace
