//===- Options.cpp --------------------------------------------------------===//

#include "Request.h"

using namespace llvm;
using namespace galvatron;

namespace {
cl::OptionCategory inputs("What is planned"), searching("How it is searched"), outputs("What comes out"), settings("Settings of Hetu-Galvatron"), global("A plan of one strategy, as Hetu-Galvatron's GLOBAL mode has it");
} // namespace

void Options::hideOthers() { cl::HideUnrelatedOptions({&inputs, &searching, &outputs, &settings, &global}); }

Options::Options()
    : profiles("galvatron-profiles", cl::desc("Profiles of Hetu-Galvatron: a folder with profile_hardware and models, or one above"), cl::value_desc("DIR"), cl::cat(inputs)),
      model("model", cl::desc("A model in it: NAME as in computation_profiling_bf16_NAME_all.json; FOLDER/NAME where there are several"), cl::value_desc("[FOLDER/]NAME"), cl::cat(inputs)),
      computation("computation-profile", cl::desc("How long layers take: this file"), cl::value_desc("file"), cl::cat(inputs)),
      memory("memory-profile", cl::desc("What layers need of memory: this file"), cl::value_desc("file"), cl::cat(inputs)),
      hardware("hardware-profiles", cl::desc("How fast links are: files of this folder"), cl::value_desc("DIR"), cl::cat(inputs)),
      layers("layers", cl::desc("Layers of the model (default: as its configuration says)"), cl::value_desc("N"), cl::cat(inputs)),
      hidden("hidden", cl::desc("Its width (default: as its configuration says)"), cl::value_desc("H"), cl::cat(inputs)),
      sequence("seq", cl::desc("Tokens of a sample"), cl::value_desc("S"), cl::cat(inputs)),
      nodes("nodes", cl::desc("Nodes of the cluster (default: 1)"), cl::value_desc("N"), cl::init(1), cl::cat(inputs)),
      ranksPerNode("gpus-per-node", cl::desc("GPUs of each; nodes x GPUs is a power of two (default: 8)"), cl::value_desc("G"), cl::init(8), cl::cat(inputs)),
      memoryGigabytes("memory-gb", cl::desc("Memory of each GPU, of which Hetu-Galvatron reserves a fifth above 20"), cl::value_desc("GB"), cl::cat(inputs)),
      globalBatch("global-batch", cl::desc("Samples of a step; or a range, of which the one with the highest throughput is wanted: 8..512:8"), cl::value_desc("B | FROM..TO[:STEP]"), cl::cat(inputs)),
      microBatches("micro-batches", cl::desc("Pieces in which a step is computed (default: whatever is best)"), cl::value_desc("C"), cl::cat(inputs)),
      space("space", cl::desc("What a plan may be: galvatron (Hetu-Galvatron's, to the formula; default), galvatron-fixed (without what looks unintended there; batches divide, and moving between strategies costs) or "
                              "uniform (one strategy for all layers)"), cl::value_desc("name"), cl::init("galvatron"), cl::cat(searching)),
      timeLimit("time-limit", cl::desc("Stop after so long with the best plan so far and a bound for what there may be; Ctrl-C does the same"), cl::value_desc("SECONDS"), cl::cat(searching)),
      json("json", cl::desc("Print the result as JSON"), cl::cat(outputs)),
      output("o", cl::desc("Write the plan (docs/PlanFormat.md)"), cl::value_desc("file"), cl::cat(outputs)),
      evaluate("evaluate", cl::desc("Say what a plan costs, without a search: one of a file, or the one strategy that the flags below say"), cl::cat(searching)),
      diff("diff", cl::desc("Say in words what the second of two plan files has that the first has not"), cl::cat(searching)),
      explain("explain", cl::desc("The best plan of each kind beside the best one, and with other memory; for a range also of each batch"), cl::cat(outputs)),
      report("report", cl::desc("Write a page about the plan: a picture of it, its step as a timeline, its memory, time over memory; and what another plan file has that it has not"), cl::value_desc("plan.html"), cl::cat(outputs)),
      files(cl::Positional, cl::desc("[plan.json ...]"), cl::cat(inputs)),
      precision("precision", cl::desc("bf16 (default), fp16 or fp32; also in the names of files"), cl::value_desc("type"), cl::init("bf16"), cl::cat(settings)),
      dataType("dp-type", cl::desc("Data parallelism that is not ZeRO-3: zero2 (default) or ddp"), cl::value_desc("type"), cl::init("zero2"), cl::cat(settings)),
      schedule("schedule", cl::desc("Order of a pipeline's micro-batches: 1f1b (default) or gpipe"), cl::value_desc("name"), cl::init("1f1b"), cl::cat(settings)),
      timeMode("time-mode", cl::desc("How times are read: batch (a line through batch sizes; default), static (the first one) or sequence (a parabola through lengths)"), cl::value_desc("mode"), cl::init("batch"), cl::cat(settings)),
      memoryMode("memory-mode", cl::desc("How memory is read: static (of the same length; default) or sequence (in proportion to the longest)"), cl::value_desc("mode"), cl::init("static"), cl::cat(settings)),
      asyncReduction("async-grad-reduce", cl::desc("Gradients are reduced after the last micro-batch (default) or, =false, after each"), cl::init(true), cl::cat(settings)),
      sequenceParallel("sequence-parallel", cl::desc("Ranks of tensor parallelism split the sequence between its products (default)"), cl::init(true), cl::cat(settings)),
      memoryBuffer("memory-buffer", cl::desc("One buffer for all gathers that this needs (default)"), cl::init(true), cl::cat(settings)),
      mostTensor("max-tp", cl::desc("The largest degree of tensor parallelism (default: 8)"), cl::value_desc("T"), cl::init(8), cl::cat(settings)),
      mostSequence("max-sp", cl::desc("The largest degree of sequence parallelism, Ulysses' (default: 8)"), cl::value_desc("S"), cl::init(8), cl::cat(settings)),
      mostPipeline("max-pp", cl::desc("The most stages of a pipeline (default: 8)"), cl::value_desc("P"), cl::init(8), cl::cat(settings)),
      pipelineDegree("pp-deg", cl::desc("--evaluate: stages (default: 1)"), cl::value_desc("P"), cl::init(1), cl::cat(global)),
      tensorDegree("global-tp-deg", cl::desc("--evaluate: ranks that share each layer (default: 1)"), cl::value_desc("T"), cl::init(1), cl::cat(global)),
      contextDegree("global-cp-deg", cl::desc("--evaluate: ranks that split the sequence, attention included (default: 1)"), cl::value_desc("C"), cl::init(1), cl::cat(global)),
      expertDegree("global-ep-deg", cl::desc("--evaluate: ranks that split experts (default: 1)"), cl::value_desc("E"), cl::init(1), cl::cat(global)),
      expertTensorDegree("global-tp-of-ep-deg", cl::desc("--evaluate: ranks that share each expert (default: 1)"), cl::value_desc("T"), cl::init(1), cl::cat(global)),
      vocabularyDegree("vocab-tp", cl::desc("--evaluate: ranks that share embedding and head (default: 1)"), cl::value_desc("T"), cl::init(1), cl::cat(global)),
      vocabularyContext("vocab-cp", cl::desc("--evaluate: ranks that split the sequence of embedding and head (default: 1)"), cl::value_desc("C"), cl::init(1), cl::cat(global)),
      isConsecutive("global-tp-consec", cl::desc("--evaluate: ranks that share layers are neighbours (default) or, =false, far apart"), cl::init(true), cl::cat(global)),
      usesZero3("sdp", cl::desc("--evaluate: ZeRO-3 for all layers"), cl::cat(global)),
      checkpoints("global-checkpoint", cl::desc("--evaluate: all layers are computed again"), cl::cat(global)),
      usesUlysses("use-ulysses", cl::desc("--evaluate: ranks that share something split the sequence"), cl::cat(global)),
      vocabularyZero3("vocab-sdp", cl::desc("--evaluate: ZeRO-3 for embedding and head"), cl::cat(global)),
      noPipeline("disable-pp", cl::desc("No pipeline"), cl::cat(settings)),
      noTensor("disable-tp", cl::desc("No tensor parallelism"), cl::cat(settings)),
      noSequence("disable-sp", cl::desc("No sequence parallelism"), cl::cat(settings)),
      noData("disable-dp", cl::desc("No data parallelism"), cl::cat(settings)),
      noCheckpoint("disable-ckpt", cl::desc("No layer is computed again"), cl::cat(settings)),
      noZero3("disable-fsdp", cl::desc("No ZeRO-3"), cl::cat(settings)),
      noEndTensor("disable-embedding-lmhead-tp", cl::desc("No tensor parallelism of embedding and head"), cl::cat(settings)),
      noEndSequence("disable-embedding-lmhead-sp", cl::desc("No sequence parallelism of embedding and head"), cl::cat(settings)) {}
