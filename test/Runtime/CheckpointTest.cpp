// CheckpointTest.cpp: optimizer state in files, what no checkpoint can hold, and the folder of checkpoints.
#include "ImageContextTest.h"
#include "TestFiles.h"
#include "checkpoint/Folder.h"
#include "checkpoint/Weights.h"

#include <gtest/gtest.h>

using namespace galvatron_rt;

namespace {

class CheckpointTest : public ImageContextTest {
protected:
  int64_t tensor(const std::string &name, const ImageBuilder::Words &shape,
                 int64_t role = GALVATRON_RT_ROLE_OPTIMIZER_STATE) {
    return builder.tensor(name, role, GALVATRON_RT_F32, shape);
  }
  int64_t saved(const std::string &name, const ImageBuilder::Words &shape,
                int64_t kind = GALVATRON_RT_SAVED_TRAINABLE) {
    return builder.savedTensor(name, kind, GALVATRON_RT_F32, shape);
  }

  TemporaryFolder folder;
};

// A fused projection [2, 6] of which the first half is trained transposed, the second not at all, and a
// tied table.
TEST_F(CheckpointTest, LaysStateOutLikeItsParameter) {
  builder.config.optimizer = GALVATRON_RT_OPTIMIZER_ADAMW;
  int64_t fused = saved("fused", {2, 6}), table = saved("table", {3}),
          fixed = saved("fixed", {1}, GALVATRON_RT_SAVED_FROZEN);
  int64_t a = tensor("a", {3, 2}, GALVATRON_RT_ROLE_PARAMETER),
          b = tensor("b", {2, 3}, GALVATRON_RT_ROLE_PARAMETER),
          t = tensor("t", {3}, GALVATRON_RT_ROLE_PARAMETER),
          f = tensor("f", {1}, GALVATRON_RT_ROLE_PARAMETER);
  builder.view(a, fused, 0, {1, 6});
  builder.view(b, fused, 3, {6, 1});
  builder.view(t, table, 0, {1});
  builder.view(f, fixed, 0, {1});
  builder.alias("head", table);
  int64_t first = tensor("a.exp_avg", {3, 2}), second = tensor("a.exp_avg_sq", {3, 2}),
          tied = tensor("t.exp_avg", {3});
  builder.state = {{a, GALVATRON_RT_STATE_EXP_AVG, first},
                   {a, GALVATRON_RT_STATE_EXP_AVG_SQ, second},
                   {t, GALVATRON_RT_STATE_EXP_AVG, tied}};
  start();
  checkHasCheckpoints(ctx->image);
  for (int i = 0; i < 6; ++i) {
    data(a)[i] = static_cast<float>(i);
    data(b)[i] = static_cast<float>(10 + i);
    data(first)[i] = static_cast<float>(20 + i);
    data(second)[i] = static_cast<float>(30 + i);
  }
  data(f)[0] = 5;
  data(tied)[2] = 7;
  WeightsSaver saver(*ctx, folder / "0", WeightsSaver::Kind::Checkpoint);
  saver.save(folder / "1", 12);
  EXPECT_EQ(readStep(folder / "1"), 12);
  EXPECT_FALSE(std::filesystem::exists(folder / "0"));
  SafeTensorsReader file(folder / "1");
  std::vector<std::string> names;
  for (const auto &[name, entry] : file.entries())
    names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"fixed", "fused", "fused.exp_avg", "fused.exp_avg_sq", "head",
                                             "step", "table", "table.exp_avg"}));
  std::vector<float> values(12);
  file.read(file.entries().at("fused"), 0, values.data(), 48);
  EXPECT_EQ(values, (std::vector<float>{0, 2, 4, 10, 11, 12, 1, 3, 5, 13, 14, 15}));
  file.read(file.entries().at("fused.exp_avg_sq"), 0, values.data(), 48);
  EXPECT_EQ(values, (std::vector<float>{30, 32, 34, 0, 0, 0, 31, 33, 35, 0, 0, 0}));

  std::vector<float> before(data(first), data(first) + 6);
  for (int64_t t : {a, b, first, second})
    std::fill_n(data(t), 6, -1.0f);
  data(tied)[2] = data(f)[0] = -1;
  checkCheckpoint(ctx->image, folder / "1");
  loadWeights(*ctx, folder / "1", LoadScope::Checkpoint);
  EXPECT_EQ(std::vector<float>(data(first), data(first) + 6), before);
  EXPECT_EQ(data(b)[5], 15);
  EXPECT_EQ(data(second)[5], 35);
  EXPECT_EQ(data(tied)[2], 7);
  EXPECT_EQ(data(f)[0], 5);

  // State may come under any name of a tied weight, and --load leaves all of it.
  SafeTensorsWriter writer(folder / "2", {{"head", FileDtype::F32, {3}},
                                          {"head.exp_avg", FileDtype::F32, {3}},
                                          {"head.momentum_buffer", FileDtype::F32, {3}},
                                          {"fused", FileDtype::F32, {2, 6}},
                                          {"fixed", FileDtype::F32, {1}}});
  writer.begin();
  std::vector<float> zeros(22);
  writer.write(zeros.data(), 88);
  writer.commit();
  loadWeights(*ctx, folder / "2", LoadScope::Parameters);
  EXPECT_EQ(data(tied)[2], 7);
  EXPECT_EQ(errorOf([&] { checkCheckpoint(ctx->image, folder / "2"); }),
            "file '" + (folder / "2") + "': it has the state of --optimizer=sgd ('head.momentum_buffer'), this "
            "program was compiled with --optimizer=adamw");
}

TEST_F(CheckpointTest, SaysWhatNoCheckpointCanHold) {
  auto problem = [&](const std::function<void(ImageBuilder &, int64_t)> &change) {
    builder = ImageBuilder();
    int64_t w = tensor("w", {2}, GALVATRON_RT_ROLE_PARAMETER);
    builder.view(w, saved("w", {2}), 0, {1});
    builder.state = {{w, GALVATRON_RT_STATE_EXP_AVG, tensor("w.exp_avg", {2})}};
    change(builder, w);
    start();
    return errorOf([&] { checkHasCheckpoints(ctx->image); });
  };
  EXPECT_EQ(problem([](ImageBuilder &, int64_t) {}), "");
  EXPECT_EQ(problem([&](ImageBuilder &b, int64_t) {
              b.view(tensor("x", {2}, GALVATRON_RT_ROLE_PARAMETER), saved("w.exp_avg", {2}), 0, {1});
            }),
            "a checkpoint would have two tensors called 'w.exp_avg': a parameter of the model has the name of "
            "what is kept beside it");
  EXPECT_EQ(problem([&](ImageBuilder &, int64_t) { tensor("count", {1}); }),
            "a checkpoint cannot hold 'count', which is kept between steps and belongs to no parameter");
  EXPECT_EQ(problem([&](ImageBuilder &b, int64_t) {
              int64_t x = tensor("x", {2}, GALVATRON_RT_ROLE_PARAMETER);
              b.view(x, 0, 0, {1}, 0);
              b.state.push_back({x, GALVATRON_RT_STATE_EXP_AVG, tensor("x.exp_avg", {2})});
            }),
            "a checkpoint cannot hold 'x.exp_avg': 'x' is trained beside another parameter with the same "
            "elements of 'w'");
  EXPECT_EQ(problem([&](ImageBuilder &b, int64_t w) {
              b.axes.push_back({b.string("t"), 2});
              b.groups.push_back({b.string("t"), b.pool({0}), 1});
              b.config.ranks = 2;
              b.config.staging_offset = b.allocate(64);
              b.config.staging_bytes = 64;
              b.saved[0].dims = b.pool({4});
              b.splits.push_back({w, 0, 0, 4});
            }),
            "program table: 'w.exp_avg' is split otherwise than its parameter");
}

TEST_F(CheckpointTest, FolderKnowsItsFiles) {
  for (const char *name : {"step-0000002.safetensors", "step-0000010.safetensors", "step-12345678901.safetensors",
                           "step-0000011.safetensors.partial-3", "step-.safetensors", "step--3.safetensors",
                           "step-99999999999999999999.safetensors", "step-3.safetensors.bak", "xstep-4.safetensors"})
    writeFile(folder / name, "");
  CheckpointFolder checkpoints(folder.path);
  std::vector<int64_t> steps;
  for (const auto &checkpoint : checkpoints.list())
    steps.push_back(checkpoint.step);
  EXPECT_EQ(steps, (std::vector<int64_t>{2, 10, 12345678901}));
  EXPECT_EQ(checkpoints.pathOf(10), folder / "step-0000010.safetensors");
  EXPECT_EQ(checkpoints.pathOf(12345678901), folder / "step-12345678901.safetensors");
  checkpoints.open();
  EXPECT_FALSE(std::filesystem::exists(folder / "step-0000011.safetensors.partial-3"));
  checkpoints.keepLast(1);
  EXPECT_EQ(checkpoints.list().size(), 1u);
  EXPECT_TRUE(std::filesystem::exists(folder / "step-3.safetensors.bak"));
  EXPECT_EQ(errorOf([&] { CheckpointFolder(folder / "nowhere").list(); }),
            "file '" + (folder / "nowhere") + "': No such file or directory");
}

} // namespace
