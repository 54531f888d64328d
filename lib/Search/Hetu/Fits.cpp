//===- Fits.cpp - Polynomials through what was measured -------------------===//

#include "galvatron/Search/Hetu/Profiles.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace llvm;
using namespace galvatron::hetu;

Polynomial galvatron::hetu::fitPolynomial(ArrayRef<std::pair<double, double>> points, unsigned degree) {
  assert(degree <= 2 && points.size() > degree && "too few points");
  // Normal equations lose half of the digits; around the mean and in units of the width they have digits to lose.
  double low = points.front().first, high = low;
  for (auto [x, y] : points) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  double middle = (low + high) / 2, width = high > low ? (high - low) / 2 : 1;
  double matrix[3][4] = {};
  unsigned n = degree + 1;
  for (auto [x, y] : points) {
    double t = (x - middle) / width, powers[3] = {1, t, t * t};
    for (unsigned i = 0; i < n; ++i) {
      for (unsigned j = 0; j < n; ++j)
        matrix[i][j] += powers[i] * powers[j];
      matrix[i][3] += powers[i] * y;
    }
  }
  // Gauss and Jordan, with the largest pivot.
  for (unsigned i = 0; i < n; ++i) {
    unsigned pivot = i;
    for (unsigned j = i + 1; j < n; ++j)
      if (std::fabs(matrix[j][i]) > std::fabs(matrix[pivot][i]))
        pivot = j;
    std::swap(matrix[i], matrix[pivot]);
    if (matrix[i][i] == 0)
      return {{points.front().second, 0, 0}}; // all at one place
    for (unsigned j = 0; j < n; ++j) {
      double factor = j == i ? 0 : matrix[j][i] / matrix[i][i];
      for (unsigned k = i; factor != 0 && k < 4; ++k)
        matrix[j][k] -= factor * matrix[i][k];
    }
  }
  double a = matrix[0][3] / matrix[0][0], b = n > 1 ? matrix[1][3] / matrix[1][1] / width : 0,
         c = n > 2 ? matrix[2][3] / matrix[2][2] / (width * width) : 0;
  // In x again.
  return {{a - b * middle + c * middle * middle, b - 2 * c * middle, c}};
}

void TimeTable::fit() {
  std::vector<std::pair<double, double>> points(measured.begin(), measured.end());
  if (points.size() > 1)
    line = fitPolynomial(points, 1);
}

double TimeTable::lookup(double megabytes) const {
  auto found = measured.find(megabytes);
  return found != measured.end() ? found->second : line(megabytes);
}
