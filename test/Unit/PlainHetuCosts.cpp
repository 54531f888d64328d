//===- PlainHetuCosts.cpp -------------------------------------------------===//

#include "PlainHetuCosts.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace {

using llvm::json::Object;

Object load(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    abort();
  return *llvm::cantFail(llvm::json::parse((*buffer)->getBuffer())).getAsObject();
}

double number(const Object &object, const std::string &key) { return object.get(key)->getAsNumber().value(); }

struct Line {
  double slope, constant;
};

/// Least squares.
Line fit(const std::map<double, double> &points) {
  double n = static_cast<double>(points.size()), x1 = 0, y1 = 0, xx = 0, xy = 0;
  for (auto [x, y] : points) {
    x1 += x;
    y1 += y;
    xx += x * x;
    xy += x * y;
  }
  double slope = (n * xy - x1 * y1) / (n * xx - x1 * x1);
  return {slope, (y1 - slope * x1) / n};
}

/// All that files say.
struct Data {
  Object bandwidth, send, times, computation, memory;
  double omega;
  Line layer, other;

  explicit Data(const std::string &inputs) {
    std::string base = inputs + "/main/galvatron/", links = base + "profile_hardware/hardware_configs/", model = base + "models/gpt/configs/";
    bandwidth = load(links + "allreduce_bandwidth_1nodes_8gpus_per_node.json");
    send = load(links + "p2p_bandwidth_1nodes_8gpus_per_node.json");
    times = load(links + "sp_time_1nodes_8gpus_per_node.json");
    omega = number(load(links + "overlap_coefficient.json"), "overlap_coe");
    computation = load(model + "computation_profiling_bf16_llama2-7b_all.json");
    memory = load(model + "memory_profiling_bf16_llama2-7b_all.json");
    layer = fitBatches("layertype_0_bsz");
    other = fitBatches("layertype_other_bsz");
  }
  Line fitBatches(const std::string &prefix) const {
    std::map<double, double> points;
    for (int b = 1; b < 100; ++b)
      if (computation.get(prefix + std::to_string(b) + "_seq2048"))
        points[b] = b * number(computation, prefix + std::to_string(b) + "_seq2048");
    return fit(points);
  }
  double collective(const std::string &kind, long ranks, double megabytes) const {
    std::map<double, double> points;
    for (int m = 1; m <= 1024; m *= 2)
      points[m] = number(times, kind + "_size_" + std::to_string(ranks) + "_" + std::to_string(m) + "MB_time");
    if (points.count(megabytes))
      return points[megabytes];
    Line line = fit(points);
    return line.slope * megabytes + line.constant;
  }
  double perMegabyte(long ranks, bool consecutive) const {
    if (ranks == 1)
      return 0;
    return 1 / number(bandwidth, "allreduce_size_" + std::to_string(ranks) + "_consec_" + (ranks == 8 || consecutive ? "1" : "0"));
  }
};

constexpr double S = 2048, H = 4096, L = 32, MB = 1024 * 1024;

double stateShare(int zero, long z, long chunks) {
  if (z == 1 || zero == 0)
    return 1;
  double x = 1 / static_cast<double>(z) + 0.003;
  if (chunks == 1)
    return zero == 2 ? 7. / 8 * x + 1. / 8 : x;
  return zero == 2 ? 6. / 8 * x + 2. / 8 : 7. / 8 * x + 1. / 8;
}

double layerTime(const Data &data, const PlainPlan &plan, const PlainLayer &l, bool sync) {
  double b = static_cast<double>(plan.batch / plan.chunks / l.d), k = static_cast<double>(std::max(l.t, l.s));
  long z = l.d * l.s;
  double f = data.layer.slope * (b / k) + data.layer.constant, beta = 2 * f + (l.checkpoint ? f : 0);
  double P = number(*data.memory.getObject("layertype_0_sp")->getObject("2048"), "parameter_size");
  double all = 2 * (static_cast<double>(z) - 1) / static_cast<double>(z) * P / static_cast<double>(l.t) * 0.5, V = sync ? all : 0;
  double dc = data.perMegabyte(z, l.t == 1), msg = b * S * H * 2 / MB, comm = 0;
  if (l.t > 1)
    comm = 6 * 0.5 * data.collective("allreduce", l.t, msg);
  if (l.s > 1)
    comm = 4 * data.collective("all2all", l.s, msg);
  if (l.checkpoint)
    comm *= 1.5;
  double time = f + beta + comm;
  if (l.d > 1) {
    double a = V * dc * data.omega, q = beta * data.omega, overlapped = q;
    if (a > q)
      overlapped = q + (V - q / (dc * data.omega)) * dc;
    else if (a < q)
      overlapped = a + beta - a / data.omega;
    time = f + overlapped + comm;
  }
  if (l.zero == 3)
    time += 0.5 * all * dc;
  if (l.p > 1)
    time += static_cast<double>(l.p) * 2 * b * S * H * 4 / MB * 0.5 / number(data.send, "pp_size_" + std::to_string(l.p)) / L;
  return time / 1000;
}

double layerMemory(const Data &data, const PlainPlan &plan, const PlainLayer &l, long stage) {
  const Object &profile = *data.memory.getObject("layertype_0_sp")->getObject("2048");
  const Object &activation = *profile.getObject("tp_activation_per_bsz_dict");
  long b = plan.batch / plan.chunks / l.d, k = std::max(l.t, l.s), inFlight = l.p == 1 ? 1 : l.p - stage;
  double states = 4 * number(profile, "parameter_size") / static_cast<double>(l.t) * stateShare(l.zero, l.d * l.s, plan.chunks);
  double each = l.checkpoint ? number(activation, "checkpoint") / static_cast<double>(k) : number(activation, std::to_string(k));
  return states + each * static_cast<double>(b * inFlight);
}

} // namespace

PlainCosts computePlainCosts(const std::string &inputs, const PlainPlan &plan) {
  static const Data data(inputs);
  const PlainLayer &e = plan.end;
  size_t p = plan.stages.size();
  PlainCosts costs;
  std::vector<double> B(p, 0), C(p, 0);
  costs.memory.assign(p, 1024);
  for (size_t i = 0; i < p; ++i) {
    for (const PlainLayer &layer : plan.stages[i]) {
      B[i] += layerTime(data, plan, layer, true);
      C[i] += layerTime(data, plan, layer, false);
      costs.memory[i] += layerMemory(data, plan, layer, static_cast<long>(i));
    }
    // Where embedding or head is.
    if (i != 0 && i != p - 1)
      continue;
    std::string which = p == 1 ? "other_memory_pp_off_sp" : i == 0 ? "other_memory_pp_on_first_sp" : "other_memory_pp_on_last_sp";
    const Object &profile = *data.memory.getObject(which)->getObject("2048");
    double b = static_cast<double>(plan.batch / plan.chunks / e.d), k = static_cast<double>(std::max(e.t, e.s));
    long z = e.d * e.s;
    double F = (data.other.slope * (b / k) + data.other.constant) / (p == 1 ? 1 : 2);
    double states = number(*profile.getObject("model_states"), std::to_string(e.t));
    double u = data.perMegabyte(z, e.t == 1) * (static_cast<double>(z) - 1) / static_cast<double>(z), M = states / 4 * 0.5;
    auto overlap = [&](double comm, double comp) {
      double slowed = comp * data.omega;
      return slowed > comm ? comm + (slowed - comm) / data.omega : comm;
    };
    double forward = e.zero == 3 ? 0.5 : 0, backward = (e.zero == 3 ? 1.0 : 0.5) - 0.5; // without the reduction
    double gathers = e.t == 1 ? 0 : (p == 1 ? 2 : 1) * 0.5 * data.collective("allreduce", e.t, b * S * H * 2 / MB);
    C[i] += (overlap(M * u * forward, F) + overlap(M * u * backward, 2 * F) + gathers) / 1000;
    double inFlight = p == 1 || i == p - 1 ? 1 : static_cast<double>(p);
    costs.memory[i] += states * stateShare(e.zero, z, plan.chunks) +
                       number(*profile.getObject("activation"), std::to_string(std::max(e.t, e.s))) * b * inFlight;
  }
  if (plan.hasBuffer) {
    double rows = static_cast<double>(plan.batch) / static_cast<double>(plan.chunks) / (8. / static_cast<double>(p) / static_cast<double>(plan.bufferShare));
    for (double &memory : costs.memory)
      memory += std::floor(rows * H * S * 4 / MB / 2);
  }
  double chunks = static_cast<double>(plan.chunks), stages = static_cast<double>(p), r = 0, y = 0;
  for (size_t i = 0; i < p; ++i) {
    r += C[i];
    y += i ? C[i] : 0;
  }
  r += C[p - 1] * (chunks - 1);
  double x = std::min(stages - 1, chunks - 1) * C[0];
  r = std::max(r, std::max(x / 3, y / 3) + std::max(2 * x / 3, 2 * y / 3) + C[0] * std::max(0., chunks + 1 - stages));
  double hidden = 0, exposed = 0;
  for (size_t i = 0; i < p; ++i) {
    hidden += C[i];
    exposed = std::max(exposed, B[i] - hidden);
  }
  costs.time = r + exposed;
  return costs;
}
