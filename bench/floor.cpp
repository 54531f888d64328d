// The floor under a training step of a GPT-2-like model on this machine: the time that its
// contractions take when oneDNN does them and nothing else runs, plus the time that its memory
// traffic takes at the measured rate of y = 1.5 x from DRAM. README.md says what is counted and
// why. Each number is a median.
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

// Debian's oneDNN runs on GNU OpenMP; its header is not in clang's path.
extern "C" void omp_set_num_threads(int);

namespace {

struct Model {
  int64_t layers = 12, width = 768, heads = 12, inner = 0, vocabulary = 50257, positions = 1024;
  int64_t batch = 4, seq = 64, threads = 2;
};

// C[batch, m, n] = A[batch, m, k] B[batch, k, n]; a transposed operand lies in memory the other way
// round.
struct Contraction {
  std::string name;
  int64_t count, batch, m, n, k;
  bool transposedA, transposedB;

  double flops() const { return 2.0 * static_cast<double>(batch * m * n * k); }
};

double millisecondsOf(const std::function<void()> &work) {
  auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

double medianMilliseconds(int runs, const std::function<void()> &work) {
  work();
  work();
  std::vector<double> times;
  for (int run = 0; run < runs; ++run)
    times.push_back(millisecondsOf(work));
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  return times[runs / 2];
}

// Forward, gradient of the input and gradient of the weight of y = x w, with w stored as [in, out].
void addLinear(std::vector<Contraction> &list, const std::string &name, int64_t count, int64_t rows,
               int64_t in, int64_t out) {
  list.push_back({name + ": y = x w", count, 1, rows, out, in, false, false});
  list.push_back({name + ": dx = dy w'", count, 1, rows, in, out, false, true});
  list.push_back({name + ": dw = x' dy", count, 1, in, out, rows, true, false});
}

std::vector<Contraction> contractionsOf(const Model &model) {
  std::vector<Contraction> list;
  int64_t rows = model.batch * model.seq, pairs = model.batch * model.heads,
          head = model.width / model.heads;
  addLinear(list, "qkv", model.layers, rows, model.width, 3 * model.width);
  addLinear(list, "attention output", model.layers, rows, model.width, model.width);
  addLinear(list, "mlp up", model.layers, rows, model.width, model.inner);
  addLinear(list, "mlp down", model.layers, rows, model.inner, model.width);
  list.push_back(
      {"attention: s = q k'", model.layers, pairs, model.seq, model.seq, head, false, true});
  list.push_back(
      {"attention: o = p v", model.layers, pairs, model.seq, head, model.seq, false, false});
  list.push_back(
      {"attention: dp = do v'", model.layers, pairs, model.seq, model.seq, head, false, true});
  list.push_back(
      {"attention: dv = p' do", model.layers, pairs, model.seq, head, model.seq, true, false});
  list.push_back(
      {"attention: dq = ds k", model.layers, pairs, model.seq, head, model.seq, false, false});
  list.push_back(
      {"attention: dk = ds' q", model.layers, pairs, model.seq, head, model.seq, true, false});
  // The head's weight is the embedding table, [vocabulary, width].
  list.push_back({"head: y = x w'", 1, 1, rows, model.vocabulary, model.width, false, true});
  list.push_back({"head: dx = dy w", 1, 1, rows, model.width, model.vocabulary, false, false});
  list.push_back({"head: dw = dy' x", 1, 1, model.vocabulary, model.width, rows, true, false});
  return list;
}

int64_t parametersOf(const Model &model) {
  int64_t width = model.width, norm = 2 * width;
  int64_t attention = width * 3 * width + 3 * width + width * width + width;
  int64_t mlp = 2 * width * model.inner + model.inner + width;
  return model.layers * (attention + mlp + 2 * norm) + norm +
         (model.vocabulary + model.positions) * width;
}

struct Traffic {
  const char *name;
  double bytes;
};

// Each tensor that a contraction makes and another op reads, or the other way round, once. A bias
// belongs to its contraction, and what goes from one contraction to the next (q, k, v, o and their
// gradients) crosses nothing.
std::vector<Traffic> trafficOf(const Model &model) {
  double rows = static_cast<double>(model.batch * model.seq), width = rows * model.width,
         inner = rows * model.inner;
  double scores = rows * model.seq * model.heads, logits = rows * model.vocabulary;
  double forward = model.layers * (4 * width + 2 * inner + 2 * scores);
  return {
      {"activations, forward: norms' and linear layers' outputs, scores, probabilities",
       4 * forward},
      {"their gradients", 4 * forward},
      {"the last norm's output and its gradient, logits and theirs", 4 * (2 * width + 2 * logits)},
      {"embedding and position rows, once each way",
       4 * 2 * (width + static_cast<double>(model.seq * model.width))},
      {"AdamW: 28 bytes a parameter", 28.0 * static_cast<double>(parametersOf(model))},
  };
}

// Bytes per millisecond, read and written, of y = 1.5 x on arrays that no cache holds.
double measureDram(int64_t threads) {
  const int64_t size = int64_t(64) << 20;
  std::vector<float> x(size, 1.0f), y(size, 0.0f);
  double time = medianMilliseconds(9, [&] {
    std::vector<std::thread> pool;
    for (int64_t thread = 0; thread < threads; ++thread)
      pool.emplace_back([&, thread] {
        const float *from = x.data();
        float *to = y.data();
        for (int64_t i = size * thread / threads, end = size * (thread + 1) / threads; i < end; ++i)
          to[i] = 1.5f * from[i];
      });
    for (std::thread &worker : pool)
      worker.join();
  });
  return 8.0 * static_cast<double>(size) / time;
}

class ContractionRunner {
public:
  ContractionRunner() : engine(dnnl::engine::kind::cpu, 0), stream(engine) {}

  double milliseconds(const Contraction &contraction) {
    using Dims = dnnl::memory::dims;
    auto describe = [&](int64_t rows, int64_t columns, bool transposed) {
      Dims strides = transposed ? Dims{rows * columns, 1, rows} : Dims{rows * columns, columns, 1};
      return dnnl::memory::desc({contraction.batch, rows, columns}, dnnl::memory::data_type::f32,
                                strides);
    };
    auto a = describe(contraction.m, contraction.k, contraction.transposedA);
    auto b = describe(contraction.k, contraction.n, contraction.transposedB);
    auto c = describe(contraction.m, contraction.n, false);
    dnnl::matmul primitive({dnnl::matmul::desc(a, b, c), engine});
    std::unordered_map<int, dnnl::memory> arguments = {
        {DNNL_ARG_SRC, filled(a)}, {DNNL_ARG_WEIGHTS, filled(b)}, {DNNL_ARG_DST, filled(c)}};
    double estimate = contraction.flops() / 1e8; // at 100 GFLOP/s, in milliseconds
    return medianMilliseconds(estimate > 50 ? 7 : 25, [&] {
      primitive.execute(stream, arguments);
      stream.wait();
    });
  }

private:
  dnnl::memory filled(const dnnl::memory::desc &shape) {
    dnnl::memory memory(shape, engine);
    auto *data = static_cast<float *>(memory.get_data_handle());
    for (size_t i = 0, size = shape.get_size() / sizeof(float); i < size; ++i)
      data[i] = 0.001f * static_cast<float>(i % 1000) - 0.5f;
    return memory;
  }

  dnnl::engine engine;
  dnnl::stream stream;
};

bool parse(int argc, char **argv, Model &model) {
  const std::map<std::string, int64_t *> options = {
      {"layers", &model.layers},         {"width", &model.width},
      {"heads", &model.heads},           {"inner", &model.inner},
      {"vocabulary", &model.vocabulary}, {"positions", &model.positions},
      {"batch", &model.batch},           {"seq", &model.seq},
      {"threads", &model.threads}};
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    size_t equals = argument.find('=');
    auto option = argument.compare(0, 2, "--") != 0 || equals == std::string::npos
                      ? options.end()
                      : options.find(argument.substr(2, equals - 2));
    char *end = nullptr;
    int64_t value = option == options.end() ? 0 : std::strtoll(argv[i] + equals + 1, &end, 10);
    if (value <= 0 || *end != '\0') {
      std::fprintf(stderr, "galvatron-floor: '%s' is not one of", argv[i]);
      for (const auto &known : options)
        std::fprintf(stderr, " --%s=N", known.first.c_str());
      std::fprintf(stderr, " with N above 0\n");
      return false;
    }
    *option->second = value;
  }
  if (model.inner == 0)
    model.inner = 4 * model.width;
  if (model.width % model.heads != 0) {
    std::fprintf(stderr, "galvatron-floor: a width of %lld is not a multiple of %lld heads\n",
                 static_cast<long long>(model.width), static_cast<long long>(model.heads));
    return false;
  }
  return true;
}

} // namespace

int main(int argc, char **argv) {
  Model model;
  if (!parse(argc, argv, model))
    return 2;
  omp_set_num_threads(static_cast<int>(model.threads));
  double contractions = 0.0, flops = 0.0, bytes = 0.0;
  ContractionRunner runner;
  for (const Contraction &contraction : contractionsOf(model)) {
    double time = runner.milliseconds(contraction);
    contractions += contraction.count * time;
    flops += contraction.count * contraction.flops();
    std::printf("%-24s %3lld x %9.3f ms  %7.1f GFLOP/s\n", contraction.name.c_str(),
                static_cast<long long>(contraction.count), time, contraction.flops() / time / 1e6);
  }
  for (const Traffic &traffic : trafficOf(model)) {
    bytes += traffic.bytes;
    std::printf("%9.1f MB  %s\n", traffic.bytes / 1e6, traffic.name);
  }
  double rate = measureDram(model.threads), memory = bytes / rate;
  std::printf(
      "{\"parameters\": %lld, \"contractions_ms\": %.2f, \"gflops\": %.1f, \"megabytes\": %.1f, "
      "\"dram_gb_per_s\": %.2f, \"memory_ms\": %.2f, \"floor_ms\": %.2f}\n",
      static_cast<long long>(parametersOf(model)), contractions, flops / contractions / 1e6,
      bytes / 1e6, rate / 1e6, memory, contractions + memory);
  return 0;
}
