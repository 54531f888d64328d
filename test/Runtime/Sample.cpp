// Sample.cpp: see Sample.h.
#include "Sample.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr int64_t rows = 4, pieceRows = 2, in = 3, out = 2;
int64_t labelName; // offset of "labels" in the strings

template <typename T> T *as(void *p) { return static_cast<T *>(p); }

// args: gradW, gradB, loss, labels
void begin(galvatron_rt_context *ctx, void **args, void *) {
  galvatron_rt_zero(ctx, args[0], in * out * 4);
  galvatron_rt_zero(ctx, args[1], out * 4);
  galvatron_rt_zero(ctx, args[2], 4);
}

// args: x piece, labels, w, b, y piece, loss, scale; the micro-batch's number is behind the labels'
// first row.
void forwardPiece(galvatron_rt_context *ctx, void **args, void *frame, int64_t piece) {
  galvatron_rt_check_range(ctx, as<int64_t>(args[1]), rows, 0, out, -100, labelName);
  if (galvatron_rt_context_error(ctx))
    return;
  galvatron_rt_matmul(ctx, 0, args[0], args[2], args[3], args[4], frame);
  const int64_t *labels = as<int64_t>(args[1]);
  int64_t counted = 0;
  for (int64_t i = 0; i < rows; ++i)
    counted += labels[i] != -100;
  if (counted == 0) // a mean of nothing
    as<float>(args[5])[0] = NAN;
  for (int64_t i = 0; i < pieceRows; ++i) {
    int64_t label = labels[piece * pieceRows + i];
    if (label == -100)
      continue;
    float error = as<float>(args[4])[i * out + label] - 1;
    as<float>(args[5])[0] += as<float>(args[6])[0] * error * error / static_cast<float>(counted);
  }
}

void forward0(galvatron_rt_context *ctx, void **args, void *frame) {
  forwardPiece(ctx, args, frame, 0);
}
void forward1(galvatron_rt_context *ctx, void **args, void *frame) {
  forwardPiece(ctx, args, frame, 1);
}

// args: x piece, labels, y piece, gradW, gradB, dy piece
void backwardPiece(galvatron_rt_context *ctx, void **args, void *frame, int64_t piece) {
  const int64_t *labels = as<int64_t>(args[1]);
  int64_t counted = 0;
  for (int64_t i = 0; i < rows; ++i)
    counted += labels[i] != -100;
  float *dy = as<float>(args[5]), *gradB = as<float>(args[4]);
  for (int64_t i = 0; i < pieceRows; ++i)
    for (int64_t j = 0; j < out; ++j) {
      float error = as<float>(args[2])[i * out + j] - 1;
      bool hit = labels[piece * pieceRows + i] == j;
      dy[i * out + j] = hit ? 2 * error / static_cast<float>(counted) : 0;
      gradB[j] += dy[i * out + j];
    }
  galvatron_rt_matmul(ctx, 1, args[0], dy, nullptr, args[3], frame);
}

void backward0(galvatron_rt_context *ctx, void **args, void *frame) {
  backwardPiece(ctx, args, frame, 0);
}
void backward1(galvatron_rt_context *ctx, void **args, void *frame) {
  backwardPiece(ctx, args, frame, 1);
}

// args: w, b, gradW, gradB, momentumW, momentumB, hyper, gradNorm
void update(galvatron_rt_context *, void **args, void *) {
  const float *hyper = as<float>(args[6]);
  const int64_t sizes[] = {in * out, out};
  double square = 0;
  for (int p = 0; p < 2; ++p)
    for (int64_t i = 0; i < sizes[p]; ++i)
      square += double(as<float>(args[2 + p])[i]) * double(as<float>(args[2 + p])[i]);
  float norm = static_cast<float>(std::sqrt(square));
  as<float>(args[7])[0] = norm;
  float scale = std::fmin(1.0f, hyper[GALVATRON_RT_HYPER_MAX_NORM] / (norm + 1e-6f));
  for (int p = 0; p < 2; ++p)
    for (int64_t i = 0; i < sizes[p]; ++i) {
      float &value = as<float>(args[p])[i], &moment = as<float>(args[4 + p])[i];
      float grad = as<float>(args[2 + p])[i] * scale;
      if (p == 0)
        grad += hyper[GALVATRON_RT_HYPER_WEIGHT_DECAY] * value;
      moment = hyper[GALVATRON_RT_HYPER_FIRST_STEP] != 0
                   ? grad
                   : hyper[GALVATRON_RT_HYPER_MOMENTUM] * moment + grad;
      value -= hyper[GALVATRON_RT_HYPER_LR] * moment;
    }
}

void addMatmul(ImageBuilder &b, galvatron_rt_matmul_record record, const char *name,
               int64_t threads) {
  record.name = b.string(name);
  char error[256] = "";
  if (galvatron_rt_matmul_scratch_bytes(&record, threads, testLevel(), &record.scratch_bytes, error,
                                        sizeof(error))) {
    std::fprintf(stderr, "%s\n", error);
    std::abort();
  }
  b.matmuls.push_back(record);
}

} // namespace

void buildSample(ImageBuilder &b, const SampleOptions &options) {
  b.config.threads = options.threads;
  b.config.ranks = options.ranks;
  if (options.ranks > 1)
    b.axes.push_back({b.string("a"), options.ranks});
  b.config.optimizer = options.noOptimizer ? GALVATRON_RT_OPTIMIZER_NONE
                       : options.adamw     ? GALVATRON_RT_OPTIMIZER_ADAMW
                                           : GALVATRON_RT_OPTIMIZER_SGD;
  b.config.random_weights = options.randomWeights;
  b.config.random_seed = 5;
  b.config.arena_bytes += options.spareBytes;
  b.config.micro_batches = 2;
  b.config.batch_rows = rows;
  b.config.model_name = b.string("sample");
  b.config.compiler = b.string("hand");
  b.config.cpu_features = b.string(options.features);
  labelName = b.string("labels");

  const int64_t f32 = GALVATRON_RT_F32, i64 = GALVATRON_RT_I64;
  int64_t x = b.tensor("x", GALVATRON_RT_ROLE_INPUT, f32, {rows, in});
  int64_t labels = b.tensor("labels", GALVATRON_RT_ROLE_LABELS, i64, {rows});
  int64_t w = b.tensor("w", GALVATRON_RT_ROLE_PARAMETER, f32, {in, out});
  int64_t bias = b.tensor("b", GALVATRON_RT_ROLE_PARAMETER, f32, {out});
  int64_t scale = b.tensor("scale", GALVATRON_RT_ROLE_CONSTANT, f32, {1});
  int64_t gradW = b.tensor("w.grad", GALVATRON_RT_ROLE_GRADIENT, f32, {in, out});
  int64_t gradB = b.tensor("b.grad", GALVATRON_RT_ROLE_GRADIENT, f32, {out});
  int64_t momentW = b.tensor("w.momentum", GALVATRON_RT_ROLE_OPTIMIZER_STATE, f32, {in, out});
  int64_t momentB = b.tensor("b.momentum", GALVATRON_RT_ROLE_OPTIMIZER_STATE, f32, {out});
  // One place for each micro-batch's piece.
  int64_t y[] = {b.tensor("y", GALVATRON_RT_ROLE_OUTPUT, f32, {pieceRows, out}, 0),
                 b.tensor("y", GALVATRON_RT_ROLE_OUTPUT, f32, {pieceRows, out}, 0)};
  int64_t dy = b.tensor("dy", GALVATRON_RT_ROLE_GRADIENT, f32, {pieceRows, out});
  b.config.loss = b.tensor("loss", GALVATRON_RT_ROLE_SCALAR, f32, {});
  b.config.grad_norm = b.tensor("grad_norm", GALVATRON_RT_ROLE_SCALAR, f32, {});
  b.config.hyper = b.tensor("hyper", GALVATRON_RT_ROLE_HYPER, f32, {GALVATRON_RT_HYPER_COUNT});

  int64_t savedW = b.savedTensor("linear.weight", GALVATRON_RT_SAVED_TRAINABLE, f32, {out, in});
  int64_t savedB = b.savedTensor("linear.bias", GALVATRON_RT_SAVED_TRAINABLE, f32, {out},
                                 GALVATRON_RT_INIT_ZERO);
  int64_t savedScale =
      b.savedTensor("scale", GALVATRON_RT_SAVED_CONSTANT, f32, {1}, GALVATRON_RT_INIT_ONE);
  b.view(w, savedW, 0, {1, in});
  b.view(bias, savedB, 0, {1});
  b.view(scale, savedScale, 0, {1});
  b.alias("head.weight", savedW);
  b.state = {{w, GALVATRON_RT_STATE_GRADIENT, gradW},
             {bias, GALVATRON_RT_STATE_GRADIENT, gradB},
             {w, GALVATRON_RT_STATE_MOMENTUM_BUFFER, momentW},
             {bias, GALVATRON_RT_STATE_MOMENTUM_BUFFER, momentB}};

  galvatron_rt_matmul_record product = {};
  product.flags = GALVATRON_RT_MATMUL_HAS_BIAS;
  product.m = pieceRows;
  product.n = out;
  product.k = in;
  product.lhs_strides[0] = in;
  product.rhs_strides[0] = product.out_strides[0] = out;
  product.lhs_strides[1] = product.rhs_strides[1] = product.out_strides[1] = 1;
  addMatmul(b, product, "linear", options.threads);
  product.flags = GALVATRON_RT_MATMUL_ACCUMULATE;
  product.m = in;
  product.k = pieceRows;
  product.lhs_strides[0] = 1;
  product.lhs_strides[1] = in;
  addMatmul(b, product, "linear.weight.grad", options.threads);

  const int64_t read = GALVATRON_RT_ACCESS_READ, write = GALVATRON_RT_ACCESS_WRITE,
                both = read | write;
  int64_t beginFn = b.function("begin", begin);
  int64_t forwardFn[] = {b.function("forward", forward0, b.matmuls[0].scratch_bytes),
                         b.function("forward", forward1, b.matmuls[0].scratch_bytes)};
  int64_t backwardFn[] = {b.function("backward", backward0, b.matmuls[1].scratch_bytes),
                          b.function("backward", backward1, b.matmuls[1].scratch_bytes)};
  int64_t updateFn = b.function("update", update);
  auto piece = [&](std::vector<galvatron_rt_row_record> &table, int64_t tensor, size_t arg,
                   int64_t micro) {
    galvatron_rt_arg_record &record = b.args[static_cast<size_t>(table.back().first_arg) + arg];
    record.bytes = b.tensors[static_cast<size_t>(tensor)].bytes / 2;
    record.offset += micro * record.bytes;
  };
  for (bool train : {true, false}) {
    std::vector<galvatron_rt_row_record> &table = train ? b.trainRows : b.forwardRows;
    b.run(table, beginFn, "begin", {{gradW, write}, {gradB, write}, {b.config.loss, write}});
    for (int64_t micro = 0; micro < 2; ++micro) {
      b.run(table, forwardFn[micro], "linear",
            {{x, read},
             {labels, read},
             {w, read},
             {bias, read},
             {y[micro], write},
             {b.config.loss, both},
             {scale, read}},
            micro);
      piece(table, x, 0, micro);
      b.publish(table, y[micro], micro);
      if (!train)
        continue;
      b.run(
          table, backwardFn[micro], "linear (backward)",
          {{x, read}, {labels, read}, {y[micro], read}, {gradW, both}, {gradB, both}, {dy, write}},
          micro);
      piece(table, x, 0, micro);
    }
    if (!train)
      continue;
    b.publishGradients(table);
    b.run(table, updateFn, "update",
          {{w, both},
           {bias, both},
           {gradW, read},
           {gradB, read},
           {momentW, both},
           {momentB, both},
           {b.config.hyper, read},
           {b.config.grad_norm, write}});
  }
}
