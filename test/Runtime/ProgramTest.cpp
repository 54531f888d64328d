// ProgramTest.cpp: runs the sample program as a user does: flags, files, errors, MPI.
#include "TestFiles.h"
#include "checkpoint/SafeTensors.h"
#include "core/Memory.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

using namespace galvatron_rt;
using Json = nlohmann::json;

namespace {

struct Result {
  int status;
  std::string output, errors;
};

const std::vector<float> weight = {0.5f, -0.25f, 0.125f, 1.0f, 0.75f, -0.5f}; // [2, 3]
const std::vector<float> bias = {0.25f, -0.125f};
const std::vector<float> inputs = {1,  2, 3, -1, 0.5f, 0.25f, 2,  2,    -1, 0.5f,  0, 1, 0,
                                   -1, 1, 1, 1,  1,    3,     -2, 0.5f, -1, -1.5f, 2}; // [2, 4, 3]
const std::vector<int64_t> labels = {0, 1, -100, 1, 1, 0, 0, -100};                    // [2, 4]

class ProgramTest : public testing::Test {
protected:
  void SetUp() override {
    std::filesystem::copy_file(SAMPLE_PROGRAM, folder / "sample");
    std::filesystem::create_directory(folder / "data");
    writeNpy(folder / "data/x.npy", "<f4", "(2, 4, 3)", inputs);
    writeNpy(folder / "data/labels.npy", "<i8", "(2, 4)", labels);
    writeWeights(folder / "sample.safetensors", true);
  }

  void writeWeights(const std::string &path, bool withScale) {
    std::vector<SafeTensorsWriter::Entry> entries = {{"linear.weight", FileDtype::F32, {2, 3}},
                                                     {"linear.bias", FileDtype::F32, {2}}};
    if (withScale)
      entries.push_back({"scale", FileDtype::F32, {1}});
    SafeTensorsWriter writer(path, entries);
    writer.begin();
    writer.write(weight.data(), 24);
    writer.write(bias.data(), 8);
    float one = 1;
    if (withScale)
      writer.write(&one, 4);
    writer.commit();
  }

  Result run(const std::string &flags, const std::string &environment = "",
             const std::string &launcher = "") {
    std::string command = "cd " + folder.path + " && " + environment + " " + launcher +
                          " ./sample " + flags + " > out.txt 2> err.txt";
    int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, readFile(folder / "out.txt"),
            readFile(folder / "err.txt")};
  }

  std::string errorOf(const std::string &flags, const std::string &environment = "") {
    Result result = run(flags, environment);
    EXPECT_NE(result.status, 0);
    return result.errors;
  }

  std::vector<Json> readLog() {
    std::istringstream lines(readFile(folder / "log.jsonl"));
    std::vector<Json> log;
    for (std::string line; std::getline(lines, line);)
      log.push_back(Json::parse(line));
    return log;
  }

  std::vector<float> readTensor(const std::string &path, const std::string &name) {
    SafeTensorsReader file(path);
    const auto &entry = file.entries().at(name);
    std::vector<float> values(static_cast<size_t>(entry.end - entry.begin) / 4);
    file.read(entry, 0, values.data(), entry.end - entry.begin);
    return values;
  }

  TemporaryFolder folder;
};

/// The sample in double.
struct Reference {
  std::vector<double> w{weight.begin(), weight.end()}, b{bias.begin(), bias.end()}, gw, gb, mw, mb,
      y;
  double loss = 0, norm = 0;

  void gradients(size_t batch) {
    gw.assign(6, 0);
    gb.assign(2, 0);
    y.assign(8, 0);
    loss = 0;
    double counted = 0;
    for (size_t i = 0; i < 4; ++i)
      counted += labels[batch * 4 + i] != -100;
    for (size_t i = 0; i < 4; ++i) {
      const float *x = &inputs[batch * 12 + i * 3];
      for (size_t j = 0; j < 2; ++j)
        y[i * 2 + j] = b[j] + w[j * 3] * x[0] + w[j * 3 + 1] * x[1] + w[j * 3 + 2] * x[2];
      int64_t label = labels[batch * 4 + i];
      if (label == -100)
        continue;
      size_t j = static_cast<size_t>(label);
      double error = y[i * 2 + j] - 1;
      loss += error * error / counted;
      for (size_t k = 0; k < 3; ++k)
        gw[j * 3 + k] += 2 * error / counted * double(x[k]);
      gb[j] += 2 * error / counted;
    }
    double square = 0;
    for (double g : gw)
      square += g * g;
    for (double g : gb)
      square += g * g;
    norm = std::sqrt(square);
  }

  void step(double lr, double momentum, double decay, double clip) {
    double scale = std::min(1.0, clip / (norm + 1e-6));
    bool first = mw.empty();
    mw.resize(6);
    mb.resize(2);
    for (size_t i = 0; i < 6; ++i) {
      double g = gw[i] * scale + decay * w[i];
      mw[i] = first ? g : momentum * mw[i] + g;
      w[i] -= lr * mw[i];
    }
    for (size_t i = 0; i < 2; ++i) {
      mb[i] = first ? gb[i] * scale : momentum * mb[i] + gb[i] * scale;
      b[i] -= lr * mb[i];
    }
  }
};

void expectNear(const std::vector<float> &values, const std::vector<double> &expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(values[i], expected[i], 1e-5) << i;
}

TEST_F(ProgramTest, TrainsLikeTheReference) {
  Result result =
      run("--data=data --steps=5 --lr=0.1 --momentum=0.9 --weight-decay=0.1 --clip-norm=0.5 "
          "--log=log.jsonl --save=final.safetensors --save-gradients=first.safetensors");
  ASSERT_EQ(result.status, 0) << result.errors;
  std::vector<Json> log = readLog();
  ASSERT_EQ(log.size(), 5u);
  Reference reference;
  for (size_t i = 0; i < 5; ++i) {
    reference.gradients(i % 2);
    EXPECT_EQ(log[i]["step"], i + 1);
    EXPECT_NEAR(log[i]["loss"].get<double>(), reference.loss, 1e-5);
    EXPECT_NEAR(log[i]["grad_norm"].get<double>(), reference.norm, 1e-5);
    EXPECT_EQ(log[i]["lr"], 0.1);
    EXPECT_GT(log[i]["step_ms"], 0);
    EXPECT_GT(log[i]["tokens_per_s"], 0);
    EXPECT_FALSE(log[i].contains("eval_loss"));
    if (i == 0) {
      expectNear(readTensor(folder / "first.safetensors", "linear.weight"), reference.gw);
      expectNear(readTensor(folder / "first.safetensors", "head.weight"), reference.gw);
      expectNear(readTensor(folder / "first.safetensors", "linear.bias"), reference.gb);
    }
    reference.step(0.1, 0.9, 0.1, 0.5);
  }
  expectNear(readTensor(folder / "final.safetensors", "linear.weight"), reference.w);
  expectNear(readTensor(folder / "final.safetensors", "head.weight"), reference.w);
  expectNear(readTensor(folder / "final.safetensors", "linear.bias"), reference.b);
  EXPECT_EQ(SafeTensorsReader(folder / "final.safetensors").entries().count("scale"), 0u)
      << "constants stay behind";
  EXPECT_NE(result.output.find("sample: 8 parameters, "), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("step 5/5  loss "), std::string::npos) << result.output;
  EXPECT_EQ(result.output.find('\r'), std::string::npos) << "no terminal, no redrawing";
}

TEST_F(ProgramTest, GivesTheSameBitsTwiceAndThroughSaveAndLoad) {
  ASSERT_EQ(run("--data=data --steps=4 --lr=0.1 --save=a.safetensors").status, 0);
  ASSERT_EQ(run("--data=data --steps=4 --lr=0.1 --save=b.safetensors").status, 0);
  EXPECT_EQ(readFile(folder / "a.safetensors"), readFile(folder / "b.safetensors"));
  // Without momentum, two times two steps are four steps.
  ASSERT_EQ(run("--data=data --steps=2 --lr=0.1 --save=half.safetensors").status, 0);
  ASSERT_EQ(
      run("--data=data --steps=2 --lr=0.1 --load=half.safetensors --save=c.safetensors").status, 0);
  EXPECT_EQ(readFile(folder / "a.safetensors"), readFile(folder / "c.safetensors"));
}

TEST_F(ProgramTest, ForwardOnlySavesTheFirstBatchesOutputs) {
  Result result = run("--data=data --forward-only --save-outputs=out.safetensors --log=log.jsonl");
  ASSERT_EQ(result.status, 0) << result.errors;
  Reference reference;
  reference.gradients(0);
  expectNear(readTensor(folder / "out.safetensors", "y"), reference.y);
  EXPECT_EQ(SafeTensorsReader(folder / "out.safetensors").entries().at("y").shape,
            (std::vector<int64_t>{4, 2}));
  std::vector<Json> log = readLog();
  ASSERT_EQ(log.size(), 2u) << "as many steps as the data has";
  EXPECT_NEAR(log[0]["loss"].get<double>(), reference.loss, 1e-5);
  EXPECT_FALSE(log[0].contains("lr"));
  EXPECT_FALSE(log[0].contains("grad_norm"));
  reference.gradients(1);
  EXPECT_NEAR(log[1]["loss"].get<double>(), reference.loss, 1e-5);
}

TEST_F(ProgramTest, EvaluationChangesNothing) {
  ASSERT_EQ(run("--data=data --steps=4 --lr=0.1 --momentum=0.5 --save=a.safetensors").status, 0);
  Result result =
      run("--data=data --steps=4 --lr=0.1 --momentum=0.5 --save=b.safetensors --eval-data=data "
          "--eval-every=2 --log=log.jsonl");
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(readFile(folder / "a.safetensors"), readFile(folder / "b.safetensors"));
  std::vector<Json> log = readLog();
  EXPECT_FALSE(log[0].contains("eval_loss"));
  EXPECT_TRUE(log[1].contains("eval_loss"));
  Reference reference;
  for (size_t i = 0; i < 4; ++i) {
    reference.gradients(i % 2);
    reference.step(0.1, 0.5, 0, INFINITY);
  }
  double sum = 0;
  for (size_t batch = 0; batch < 2; ++batch) {
    reference.gradients(batch);
    sum += reference.loss * 3; // three labels are counted in each
  }
  EXPECT_NEAR(log[3]["eval_loss"].get<double>(), sum / 6, 1e-5);
}

TEST_F(ProgramTest, SchedulesTheLearningRate) {
  ASSERT_EQ(
      run("--data=data --steps=4 --lr=0.1 --lr-schedule=linear --warmup=2 --log=log.jsonl").status,
      0);
  std::vector<Json> log = readLog();
  const double expected[] = {0, 0.05, 0.1, 0.05};
  for (size_t i = 0; i < 4; ++i)
    EXPECT_DOUBLE_EQ(log[i]["lr"], expected[i]) << i;
}

TEST_F(ProgramTest, MakesRandomWeightsWithoutAFile) {
  std::filesystem::remove(folder / "sample.safetensors");
  ASSERT_EQ(
      run("--data=data --steps=1 --lr=0 --weight-decay=0 --save=a.safetensors", "SAMPLE=random")
          .status,
      0);
  std::vector<float> w = readTensor(folder / "a.safetensors", "linear.weight");
  double square = 0;
  for (float value : w)
    square += double(value) * double(value);
  EXPECT_GT(square, 0);
  EXPECT_LT(std::sqrt(square / 6), 0.1);
  EXPECT_EQ(readTensor(folder / "a.safetensors", "linear.bias"), (std::vector<float>{0, 0}));
}

TEST_F(ProgramTest, HelpTeaches) {
  Result result = run("--help");
  EXPECT_EQ(result.status, 0);
  for (const char *text :
       {"Trains sample. Compiled by hand.", "--data DIR", "x.npy f32 [steps, 4, 3]",
        "labels.npy i64 [steps, 4]", "so the first has 0", "sample --data=data --steps=100 --lr=0.1 --momentum=0.9"})
    EXPECT_NE(result.output.find(text), std::string::npos) << text << "\n" << result.output;
  EXPECT_EQ(run("--version").output, "hand\n");
}

TEST_F(ProgramTest, RefusesWrongCommandLines) {
  auto expect = [&](const std::string &flags, const std::string &message,
                    const std::string &environment = "") {
    Result result = run(flags, environment);
    EXPECT_EQ(result.status, 2) << flags;
    EXPECT_EQ(result.errors, "sample: error: " + message + "\n") << flags;
  };
  expect("", "--data=DIR is missing; --help lists the flags");
  expect("--data=data --stepz=3",
         "unknown flag '--stepz'; did you mean --steps? (--help lists all)");
  EXPECT_EQ(run("--data=data --steps=1 --").status, 0) << "no flags follow, and none did";
  EXPECT_EQ(run("--data=data --steps=1 >&-").status, 0) << "nobody wants to read it";
  expect("--data=data --qqqqqq 3", "unknown flag '--qqqqqq' (--help lists all)");
  expect("--data=data 3", "unexpected argument '3'; --help lists the flags");
  expect("--data=data --steps=0", "--steps is 0, wanted at least 1 and less than 1e+15");
  expect("--data=data --lr=-1", "--lr is -1, wanted at least 0");
  expect("--data=data --lr=nan", "--lr is nan, wanted at least 0");
  expect("--data=data --clip-norm=0", "--clip-norm is 0, wanted more than 0");
  expect("--data=data --betas=0.9,0.95",
         "--betas does not apply: this program was not compiled with --optimizer=adamw");
  expect("--data=data --eps=1",
         "--eps does not apply: this program was not compiled with --optimizer=adamw");
  expect("--data=data --momentum=0.9",
         "--momentum does not apply: this program was not compiled with --optimizer=sgd",
         "SAMPLE=adamw");
  expect("--data=data --betas=0.9,1", "--betas is 1, wanted at least 0 and less than 1",
         "SAMPLE=adamw");
  expect("--data=data --lr-schedule=step",
         "--lr-schedule is 'step', wanted constant, linear or cosine");
  expect("--data=data --eval-every=2", "--eval-every needs --eval-data");
  expect("--data=data --eval-data=data", "--eval-data needs --eval-every");
  expect("--data=data --save-outputs=o", "--save-outputs does not apply: it needs --forward-only");
  expect("--data=data --forward-only --save=o",
         "--save does not apply: --forward-only trains nothing");
  expect("--data=data",
         "this program was compiled without an optimizer; it runs with --forward-only",
         "SAMPLE=no-optimizer");
}

TEST_F(ProgramTest, NamesWrongData) {
  EXPECT_EQ(errorOf("--data=nowhere"),
            "sample: error: file 'nowhere/x.npy': No such file or directory\n"
            "sample: error: file 'nowhere/labels.npy': No such file or directory\n");
  writeNpy(folder / "data/labels.npy", "<i8", "(1, 4)", std::vector<int64_t>{0, 0, 0, 0});
  EXPECT_EQ(errorOf("--data=data"),
            "sample: error: directory 'data': 'labels.npy' has 1 steps, 'x.npy' has 2\n");
  writeNpy(folder / "data/labels.npy", "<i8", "(2, 4)",
           std::vector<int64_t>{0, 0, 0, 0, 0, 1, 2, 0});
  EXPECT_EQ(errorOf("--data=data --steps=2 --lr=0.1"),
            "sample: error: step 2: 'linear': labels hold the value 2, wanted at least 0 and below 2, or -100; "
            "that value is in 'data/labels.npy' at [1, 2]\n");
  // Evaluation reads the same names from another folder.
  std::filesystem::create_directory(folder / "other");
  std::filesystem::rename(folder / "data/labels.npy", folder / "other/labels.npy");
  std::filesystem::copy(folder / "data/x.npy", folder / "other/x.npy");
  writeNpy(folder / "data/labels.npy", "<i8", "(2, 4)", std::vector<int64_t>{0, 0, 0, 0, 0, 1, 1, 0});
  std::string errors = errorOf("--data=data --steps=2 --lr=0.1 --eval-data=other --eval-every=1");
  EXPECT_NE(errors.find("; that value is in 'other/labels.npy' at [1, 2]\n"), std::string::npos) << errors;
}

TEST_F(ProgramTest, NamesWhatCannotBeWritten) {
  Result result = run("--data=data --save=nowhere/final.safetensors");
  EXPECT_EQ(result.errors, "sample: error: --save=nowhere/final.safetensors: there is no folder 'nowhere'\n");
  EXPECT_EQ(result.output, "") << "found before the first step";
  EXPECT_EQ(errorOf("--data=data --log=nowhere/log.jsonl"),
            "sample: error: --log=nowhere/log.jsonl: there is no folder 'nowhere'\n");
  for (const char *flags : {"--help", "--data=data --steps=1 --save=a.safetensors"})
    EXPECT_EQ(errorOf(std::string(flags) + " >/dev/full 2>err.txt; exit $?; true"),
              "sample: error: standard output could not be written\n");
  EXPECT_TRUE(std::filesystem::exists(folder / "a.safetensors")) << "what was trained is not lost";
}

TEST_F(ProgramTest, NamesABatchWithoutLabels) {
  writeNpy(folder / "data/labels.npy", "<i8", "(2, 4)",
           std::vector<int64_t>{0, 0, 0, 0, -100, -100, -100, -100});
  EXPECT_EQ(errorOf("--data=data --steps=2"),
            "sample: error: step 2: no label counts: all that 'data/labels.npy' has for this step are -100\n");
  std::filesystem::copy(folder / "data", folder / "unlabelled");
  writeNpy(folder / "unlabelled/labels.npy", "<i8", "(2, 4)", std::vector<int64_t>(8, -100));
  writeNpy(folder / "data/labels.npy", "<i8", "(2, 4)", std::vector<int64_t>(8, 0));
  EXPECT_EQ(errorOf("--data=data --steps=1 --eval-data=unlabelled --eval-every=1"),
            "sample: error: no label counts: all of 'unlabelled' are -100\n");
}

TEST_F(ProgramTest, NamesWrongWeights) {
  std::filesystem::remove(folder / "sample.safetensors");
  EXPECT_EQ(errorOf("--data=data"), "sample: error: file '" + (folder / "sample.safetensors") +
                                        "': No such file or directory; it was written beside the program when that was compiled: take it along, "
                                        "or give other parameters with --load\n");
}

TEST_F(ProgramTest, StopsAtANan) {
  std::vector<float> broken = inputs;
  broken[12] = NAN;
  writeNpy(folder / "data/x.npy", "<f4", "(2, 4, 3)", broken);
  EXPECT_EQ(errorOf("--data=data --save=a.safetensors --log=log.jsonl"),
            "sample: error: step 2: the loss is nan; run it again with --nan-trace to see where it "
            "comes from\n");
  EXPECT_FALSE(std::filesystem::exists(folder / "a.safetensors"));
  EXPECT_EQ(readLog().size(), 1u);
  EXPECT_EQ(errorOf("--data=data --nan-trace"),
            "sample: error: step 2: the first NaN was made by 'linear' (function 'forward', "
            "micro-batch 0) in 'y' at "
            "element 0\n");
  broken[12] = 3e38f;
  broken[13] = 3e38f;
  writeNpy(folder / "data/x.npy", "<f4", "(2, 4, 3)", broken);
  EXPECT_EQ(errorOf("--data=data --nan-trace --forward-only"),
            "sample: error: step 2: the loss is inf\n"
            "sample: error: step 2: the first infinity was made by 'linear' (function 'forward', "
            "micro-batch 0) in "
            "'y' at element 1\n");
}

TEST_F(ProgramTest, KeepsTheOldFileWhenTheDiskIsFull) {
  writeFile(folder / "final.safetensors", "old");
  // A limit on file sizes stands for the full disk: writes beyond it fail as there.
  Result result =
      run("--data=data --steps=1 --save=final.safetensors", "trap '' XFSZ; ulimit -f 0;");
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(readFile(folder / "final.safetensors"), "old");
  for (const auto &entry : std::filesystem::directory_iterator(folder.path))
    EXPECT_EQ(entry.path().string().find("partial"), std::string::npos) << entry.path();
}

TEST_F(ProgramTest, KeepsTheOldFileWhenItDiesWhileSaving) {
  writeFile(folder / "final.safetensors", "old");
  // The signal that comes with the first write beyond the limit ends the program in the middle.
  Result result = run("--data=data --steps=1 --save=final.safetensors >/dev/null'", "ulimit -c 0; ulimit -f 0;", "sh -c '");
  EXPECT_NE(result.status, 0) << "the limit was not met";
  EXPECT_NE(result.status, 1) << "it ended by itself: " << result.errors;
  EXPECT_EQ(readFile(folder / "final.safetensors"), "old");
}

TEST_F(ProgramTest, LeavesWholeLinesInTheLogWhenItIsKilled) {
  Result result = run("--data=data --steps=100000000 --lr=0 --log=log.jsonl", "", "timeout -s KILL 1");
  EXPECT_NE(result.status, 0);
  std::string log = readFile(folder / "log.jsonl");
  // The system may cut the last write where a page ends; what goes on from there leaves half a line out.
  size_t end = log.rfind('\n');
  ASSERT_NE(end, std::string::npos);
  EXPECT_LT(log.size() - end, 400u) << "more than a line is not whole";
  writeFile(folder / "log.jsonl", log.substr(0, end + 1));
  std::vector<Json> lines = readLog();
  for (size_t i = 0; i < lines.size(); ++i)
    ASSERT_EQ(lines[i]["step"], i + 1);
}

TEST_F(ProgramTest, SaysWhatTheProcessorLacks) {
  std::string errors = errorOf("--data=data", "SAMPLE=amx");
  if (errors.find("lacks") == std::string::npos)
    GTEST_SKIP() << "this processor has AMX-FP16";
  EXPECT_EQ(errors, "sample: error: this processor lacks amx-fp16, which the program was compiled "
                    "for; compile it with "
                    "--cpu=x86-64-v3 or on this machine\n");
}

TEST_F(ProgramTest, RunsWithFewerCoresThanThreads) {
  if (sysconf(_SC_NPROCESSORS_ONLN) >= 64)
    GTEST_SKIP() << "this machine has as many cores";
  Result result = run("--data=data --steps=1", "SAMPLE=64-threads");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.errors.rfind(
                "sample: warning: the program was compiled for 64 threads and may use ", 0),
            0u)
      << result.errors;
}

TEST_F(ProgramTest, RefusesASmallerTeamThanItsLibraryCountsOn) {
  EXPECT_NE(errorOf("--data=data --steps=1", "SAMPLE=64-threads OMP_THREAD_LIMIT=2")
                .find("sample: error: OpenMP gives this program 2 of the 64 threads that it was "
                      "compiled for; unset OMP_THREAD_LIMIT and OMP_MAX_ACTIVE_LEVELS, or compile "
                      "it with --threads=2\n"),
            std::string::npos);
  EXPECT_EQ(run("--data=data --steps=1", "SAMPLE=64-threads OMP_DYNAMIC=true").status, 0);
}

TEST_F(ProgramTest, ReplacesOnlyFilesThatItMay) {
  std::filesystem::create_directory(folder / "folder");
  EXPECT_EQ(errorOf("--data=data --save=folder"),
            "sample: error: file 'folder': not a regular file\n");
  EXPECT_EQ(errorOf("--data=data --save=/dev/null"),
            "sample: error: file '/dev/null': not a regular file\n");
  EXPECT_EQ(errorOf("--data=data --save=a.safetensors --save-gradients=a.safetensors"),
            "sample: error: --save and --save-gradients name the same file 'a.safetensors'\n");
  std::string weights = readFile(folder / "sample.safetensors");
  EXPECT_EQ(errorOf("--data=data --log=sample.safetensors"),
            "sample: error: --log names 'sample.safetensors', from which the parameters are read\n");
  EXPECT_EQ(readFile(folder / "sample.safetensors"), weights);
  EXPECT_EQ(errorOf("--data=data --save=sample"), "sample: error: --save names 'sample', the program that is running\n");
  EXPECT_EQ(errorOf("--data=data --log=data/../data/x.npy"),
            "sample: error: --log names 'data/../data/x.npy', from which the data is read\n");
  std::ofstream(std::string(folder / "log.jsonl")) << "of an earlier run";
  EXPECT_NE(run("--data=data --log=log.jsonl --load=nowhere").status, 0);
  EXPECT_EQ(readFile(folder / "log.jsonl"), "of an earlier run");
  std::ofstream(std::string(folder / "real.safetensors")) << "old";
  std::filesystem::create_symlink("real.safetensors", std::string(folder / "link.safetensors"));
  EXPECT_EQ(run("--data=data --save=link.safetensors").status, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(std::string(folder / "link.safetensors")));
  EXPECT_GT(readFile(folder / "real.safetensors").size(), 100u);
}

TEST_F(ProgramTest, RunsUnderMpirun) {
  const std::string mpirun = "mpirun --allow-run-as-root --oversubscribe -n ";
  Result one = run("--data=data --steps=2 --save=a.safetensors", "", mpirun + "1");
  EXPECT_EQ(one.status, 0) << one.errors;
  EXPECT_EQ(one.errors.find("warning"), std::string::npos)
      << "mpirun's default binding is widened: " << one.errors;
  Result two = run("--data=data --steps=2", "", mpirun + "2");
  EXPECT_NE(two.status, 0);
  EXPECT_NE(two.errors.find("sample: error: the program was compiled for 1 rank and was started "
                            "with 2; start it with "
                            "mpirun -n 1"),
            std::string::npos)
      << two.errors;
  EXPECT_EQ(errorOf("--data=data", "SAMPLE=2-ranks"),
            "sample: error: the program was compiled for 2 ranks and was started with 1; start it "
            "with mpirun -n 2, or by itself with --ranks-as-threads\n");
}

TEST_F(ProgramTest, RedrawsItsProgressOnlyWhereSomebodyWatches) {
  const std::string mpirun = "mpirun --allow-run-as-root --oversubscribe -n 1 ";
  auto redraws = [&](const std::string &launcher, const std::string &end) {
    Result result = run("--data=data --steps=4" + end, "", launcher);
    EXPECT_EQ(result.status, 0) << launcher << result.errors;
    EXPECT_NE(result.output.find("step 4/4  loss "), std::string::npos) << launcher << result.output;
    return result.output.find("\rstep ") != std::string::npos;
  };
  EXPECT_FALSE(redraws("", ""));
  EXPECT_FALSE(redraws(mpirun, "")) << "mpirun's own terminal is not the user's";
  EXPECT_FALSE(redraws(mpirun + "sh -c '", "; true'"));
  // script gives a terminal to what it runs.
  EXPECT_TRUE(redraws("script -qec '", "' /dev/null"));
  EXPECT_TRUE(redraws("script -qec '" + mpirun, "' /dev/null"));
}

TEST_F(ProgramTest, AllocatesNothingLargeAfterTheFirstStep) {
#if defined(__SANITIZE_ADDRESS__) || defined(GALVATRON_SANITIZED)
  GTEST_SKIP() << "the sanitizer replaces the allocator itself";
#endif
  Result result = run(
      "--data=data --steps=5 --log=log.jsonl --save=a.safetensors --eval-data=data --eval-every=1 --checkpoint=c --every=1",
      "ALLOCATIONS_LOG=log.jsonl LD_PRELOAD=" ALLOCATIONS_LIBRARY);
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.errors, "");
}

TEST_F(ProgramTest, SaysHowMuchMemoryIsNeeded) {
  std::string errors = errorOf("--data=data", "SAMPLE=spare-64-tebibytes");
  EXPECT_EQ(errors.rfind("sample: error: the program needs 70368744", 0), 0u) << errors;
  EXPECT_NE(errors.find(" bytes (64.0 TiB) for tensors, this machine has "), std::string::npos)
      << errors;
  EXPECT_NE(errors.find("; --print-memory of the compiler shows what for, and "), std::string::npos)
      << errors;
}

TEST_F(ProgramTest, SaysThatTheAddressSpaceIsLimited) {
#if defined(__SANITIZE_ADDRESS__) || defined(GALVATRON_SANITIZED)
  GTEST_SKIP() << "the sanitizer needs terabytes of address space";
#endif
  if (readMachineMemory().total < int64_t(2) << 30)
    GTEST_SKIP() << "this machine has less than 2 GiB";
  std::string errors =
      errorOf("--data=data", "SAMPLE=spare-gibibyte; export SAMPLE; ulimit -v 1000000;");
  // One GiB and what the sample needs itself: the library's scratch memory differs between processors.
  EXPECT_EQ(errors.rfind("sample: error: cannot allocate 107", 0), 0u) << errors;
  EXPECT_NE(errors.find(" bytes (1.0 GiB) for tensors: Cannot allocate memory (ulimit -v allows "
                        "this process 1024000000 bytes (976.6 MiB), of which it uses "),
            std::string::npos)
      << errors;
}

TEST_F(ProgramTest, ProfilesFunctions) {
  Result result = run("--data=data --steps=2 --profile");
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.output.find("  update\n"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("\npeak memory "), std::string::npos) << result.output;
}

} // namespace
