/* galvatron_rt.h: the border between a compiled training program and its runtime.
 *
 * Generated code calls part (a). The compiler writes the tables of part (b) and asks part (c) how
 * much scratch memory a library call will want. Part (d) is for tests and for programs that embed
 * the runtime.
 *
 * Conventions
 *  1. C99. No C++ type, exception or ownership crosses this border. Every name starts with
 *     galvatron_rt_.
 *  2. All counts, sizes, strides, offsets and flags are int64_t. Strides count elements, offsets
 *     into the arena count bytes. The arena starts at a multiple of GALVATRON_RT_ALIGNMENT; so
 *     must every tensor and frame in it. An argument of a row (a slice of a tensor, say) need
 *     only be aligned to its element, scratch to 64 bytes.
 *  3. Entry points of part (a) return void. The first error of a context is kept in it (later
 *     ones are dropped), and from then on entry points do nothing. The executor looks after each
 *     row and stops with a message that names the row. Generated code need not look.
 *  4. Part (a) never allocates: scratch memory comes from the caller, as large as the record
 *     says.
 *  5. A program with the same number of threads computes the same bits every time: work is split
 *     statically, by the number of threads the image was compiled for, never by how many cores
 *     happen to be free.
 *  6. Kernels run on the same thread team as the math library. A kernel must not call an entry
 *     point of part (a).
 *  7. Entry points of part (a) are called from the thread that runs the executor, one at a time.
 *  8. Functions of parts (c) and (d) return 0 when all went well; otherwise they fill `error`
 *     with one line (no full stop, no newline, always terminated) and return a nonzero code.
 *  9. f32 values are IEEE single precision. An i1 tensor holds one byte per element, 0 or 1.
 * 10. Structs that cross the border start with their size, a magic number and a version.
 */
#ifndef GALVATRON_RT_H
#define GALVATRON_RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GALVATRON_RT_MAGIC 0x54525647u /* the bytes "GVRT" */
#define GALVATRON_RT_VERSION 4u
#define GALVATRON_RT_ALIGNMENT 64
#define GALVATRON_RT_MAX_RANK 8
#define GALVATRON_RT_MAX_BATCH_DIMS 4

typedef struct galvatron_rt_context galvatron_rt_context;

/* ============================ (a) what generated code calls ============================ */

/* A kernel computes rows [begin, end) of its result. `args` are pointers into the arena. */
typedef void (*galvatron_rt_kernel)(void **args, int64_t begin, int64_t end);

/* A function of the table: `args` are the row's arguments, `frame` its private working memory (may
 * be NULL). */
typedef void (*galvatron_rt_function)(galvatron_rt_context *ctx, void **args, void *frame);

/* Runs `kernel` over [0, rows), split statically over the threads in multiples of `grain` (at least
 * 1). Thread t of T gets the t-th of T nearly equal runs of whole grains. With rows <= grain it
 * runs on the calling thread. A kernel that needs a number for its thread is given one chunk per
 * thread: rows = threads, grain = 1. */
void galvatron_rt_parallel_for(galvatron_rt_context *ctx, galvatron_rt_kernel kernel, void **args,
                               int64_t rows, int64_t grain);

/* out = lhs . rhs (+ bias) (+ out), as record `descriptor` of section MATMULS says. `bias` is NULL
 * without the flag HAS_BIAS, `scratch` may be NULL if the record's scratch_bytes is 0. out must not
 * overlap the others. */
void galvatron_rt_matmul(galvatron_rt_context *ctx, int64_t descriptor, const void *lhs,
                         const void *rhs, const void *bias, void *out, void *scratch);

/* The convolution that record `descriptor` of section CONVS says. What is written depends on its
 * direction: forward           dst = conv(src, weights) + bias backward data     src = gradient of
 * src from dst (its gradient) and weights; bias is NULL backward weights  weights, bias = gradients
 * from src and dst (its gradient); bias NULL without HAS_BIAS */
void galvatron_rt_conv(galvatron_rt_context *ctx, int64_t descriptor, void *src, void *weights,
                       void *bias, void *dst, void *scratch);

/* table[ids[i], :] += src[i, :] for i in [0, n), in that order for every element (threads split the
 * columns). An id of -1 is passed over; another outside [0, table_rows) is an error and nothing is
 * added. */
void galvatron_rt_scatter_add_rows(galvatron_rt_context *ctx, float *table, int64_t table_rows,
                                   int64_t width, const int64_t *ids, int64_t n, const float *src);

void galvatron_rt_zero(galvatron_rt_context *ctx, void *data, int64_t bytes);
void galvatron_rt_copy(galvatron_rt_context *ctx, void *dst, const void *src, int64_t bytes);

/* Error unless low <= ids[i] < high or ids[i] = ignored for all i (ignored = low where no other
 * value is allowed). `name` is an offset into the image's strings (what the ids are); the message
 * has the name, the value, its position and the step. */
void galvatron_rt_check_range(galvatron_rt_context *ctx, const int64_t *ids, int64_t n, int64_t low,
                              int64_t high, int64_t ignored, int64_t name);

/* ============================ (b) the program table ============================ */

/* The constant image of a program. `words` begins with n_sections, then n_sections times a
 * galvatron_rt_section; each names an array of fixed-size records somewhere in `words`, all fields
 * int64_t. A section may be missing (it is empty then), but may not appear twice. Fields called
 * `name` and the like are offsets into `strings`, where a NUL ends each string; offset 0 must hold
 * the empty string. Ranges "first, n" index the records of another section. */
typedef struct galvatron_rt_image {
  uint32_t size; /* sizeof(galvatron_rt_image) */
  uint32_t magic;
  uint32_t version;
  uint32_t reserved; /* 0 */
  const int64_t *words;
  int64_t n_words;
  const char *strings;
  int64_t n_strings; /* bytes, the last one is NUL */
  const galvatron_rt_function *functions;
  int64_t n_functions;
} galvatron_rt_image;

typedef enum galvatron_rt_section_kind {
  GALVATRON_RT_SECTION_CONFIG = 1,  /* one galvatron_rt_config_record */
  GALVATRON_RT_SECTION_DIMS = 2,    /* record_words 1: a pool of dimensions and strides */
  GALVATRON_RT_SECTION_TENSORS = 3, /* galvatron_rt_tensor_record */
  GALVATRON_RT_SECTION_SAVED = 4,   /* galvatron_rt_saved_record */
  GALVATRON_RT_SECTION_VIEWS = 5,   /* galvatron_rt_view_record */
  GALVATRON_RT_SECTION_ALIASES = 6, /* galvatron_rt_alias_record */
  GALVATRON_RT_SECTION_STATE = 7,   /* galvatron_rt_state_record */
  GALVATRON_RT_SECTION_MATMULS = 8, /* galvatron_rt_matmul_record */
  GALVATRON_RT_SECTION_CONVS = 9,   /* galvatron_rt_conv_record */
  GALVATRON_RT_SECTION_FUNCTIONS =
      10, /* galvatron_rt_function_record, one per entry of `functions` */
  GALVATRON_RT_SECTION_TRAIN_ROWS = 11, /* galvatron_rt_row_record: one training step */
  GALVATRON_RT_SECTION_FORWARD_ROWS =
      12, /* galvatron_rt_row_record: loss and outputs; changes no parameter and no
             optimizer state (--forward-only and evaluation) */
  GALVATRON_RT_SECTION_ARGS = 13,   /* galvatron_rt_arg_record */
  GALVATRON_RT_SECTION_AXES = 14,   /* galvatron_rt_axis_record: the mesh, outermost axis first */
  GALVATRON_RT_SECTION_GROUPS = 15, /* galvatron_rt_group_record */
  GALVATRON_RT_SECTION_SHIFTS = 16, /* galvatron_rt_shift_record */
  GALVATRON_RT_SECTION_SPLITS = 17  /* galvatron_rt_split_record */
} galvatron_rt_section_kind;
#define GALVATRON_RT_SECTION_KIND_END 18

typedef struct galvatron_rt_section {
  int64_t kind;         /* galvatron_rt_section_kind */
  int64_t record_words; /* sizeof(record) / 8 of this version */
  int64_t n_records;
  int64_t word_offset; /* of the first record, from the start of `words` */
} galvatron_rt_section;

typedef enum galvatron_rt_dtype {
  GALVATRON_RT_F32 = 0,
  GALVATRON_RT_I64 = 1,
  GALVATRON_RT_I1 = 2
} galvatron_rt_dtype;

/* CPU levels bound what the math library may use; what generated code uses is listed in
 * cpu_features. */
typedef enum galvatron_rt_cpu_level {
  GALVATRON_RT_CPU_X86_64_V3 = 3, /* AVX2, FMA */
  GALVATRON_RT_CPU_X86_64_V4 = 4  /* AVX-512 F, BW, CD, DQ, VL */
} galvatron_rt_cpu_level;

typedef enum galvatron_rt_optimizer {
  GALVATRON_RT_OPTIMIZER_NONE = 0,
  GALVATRON_RT_OPTIMIZER_ADAMW = 1,
  GALVATRON_RT_OPTIMIZER_SGD = 2
} galvatron_rt_optimizer;

typedef struct galvatron_rt_config_record {
  int64_t arena_bytes;
  int64_t threads;
  int64_t cpu_level;    /* galvatron_rt_cpu_level */
  int64_t cpu_features; /* string: features the generated code needs, LLVM's names, comma separated,
                           no sign; each one known to galvatron_rt_cpu_feature_known; "" = those of
                           cpu_level */
  int64_t optimizer;    /* galvatron_rt_optimizer */
  int64_t ranks;        /* of the job: the product of the mesh's axes */
  int64_t stages;       /* pipeline stages: the outermost axes of the mesh are theirs */
  int64_t stage;        /* of which this is the image */
  int64_t max_sent;     /* most messages of one rank to another that are on their way at a time, on
                           any stage */
  int64_t micro_batches;
  int64_t
      loss; /* tensor, f32 scalar, whole after the last row; -1 = none (then --forward-only only) */
  int64_t grad_norm; /* tensor, f32 scalar, norm before clipping, whole after the last training row;
                        -1 = none */
  int64_t hyper; /* tensor, f32[GALVATRON_RT_HYPER_COUNT], written before each training step; -1 =
                    none */
  int64_t batch_rows;      /* rows of the global batch */
  int64_t tokens_per_step; /* for tokens_per_s; 0 = count batch_rows */
  int64_t ignored_label;   /* labels of this value are not counted (-100); evaluation weighs batches
                              by the others */
  int64_t
      random_weights; /* 1: there is no weights file, values are made at start from random_seed */
  int64_t random_seed;
  /* Parameters that not every rank has all of, and their state, are saved through this part of the arena, a multiple of
   * 8 bytes (0 = there are none), by the ranks of one group (-1 = none) of which the first writes. It
   * is at the same place on all ranks. */
  int64_t staging_offset;
  int64_t staging_bytes;
  int64_t staging_group;
  int64_t model_name; /* string */
  int64_t compiler;   /* string: name and version of what wrote this image */
} galvatron_rt_config_record;

/* Layout of the hyper tensor: f32 values, computed in double and rounded once. t = 1 at the first
 * step, lr is that of the step after schedule. */
typedef enum galvatron_rt_hyper {
  GALVATRON_RT_HYPER_LR = 0,
  GALVATRON_RT_HYPER_BETA1 = 1,
  GALVATRON_RT_HYPER_BETA2 = 2,
  GALVATRON_RT_HYPER_EPS = 3,
  GALVATRON_RT_HYPER_WEIGHT_DECAY = 4,
  GALVATRON_RT_HYPER_BIAS1 = 5,      /* 1 / (1 - beta1^t) */
  GALVATRON_RT_HYPER_BIAS2 = 6,      /* 1 / sqrt(1 - beta2^t) */
  GALVATRON_RT_HYPER_MOMENTUM = 7,   /* 0 = plain SGD */
  GALVATRON_RT_HYPER_MAX_NORM = 8,   /* +inf without --clip-norm */
  GALVATRON_RT_HYPER_FIRST_STEP = 9, /* 1 at the first step (momentum buffers are empty), then 0 */
  GALVATRON_RT_HYPER_ONE_MINUS_BETA1 = 10, /* 1 - beta1 */
  GALVATRON_RT_HYPER_ONE_MINUS_BETA2 = 11, /* 1 - beta2 */
  GALVATRON_RT_HYPER_STEP_SIZE = 12,       /* lr / (1 - beta1^t) */
  GALVATRON_RT_HYPER_DECAY_FACTOR = 13,    /* 1 - lr * weight_decay */
  GALVATRON_RT_HYPER_STEP = 14             /* t */
} galvatron_rt_hyper;
#define GALVATRON_RT_HYPER_COUNT 16

/* What the runtime does with a tensor.
 *   PARAMETER        has a view of a saved tensor; filled at start
 *   CONSTANT         the same, but --save does not write it and --load need not have it
 *   OPTIMIZER_STATE  zero at start, kept between steps
 *   GRADIENT         whole when a PUBLISH_GRADIENTS row is reached
 *   INPUT            global batch, filled before each step from DIR/<name>.npy
 *   LABELS           the same; its name is "labels"
 *   SCALAR           loss, grad_norm: read after the last row
 *   HYPER            filled before each training step
 *   OUTPUT           one micro-batch's piece of an output of the model; records of equal name and
 *                    shape are places for pieces of one output */
typedef enum galvatron_rt_tensor_role {
  GALVATRON_RT_ROLE_PARAMETER = 0,
  GALVATRON_RT_ROLE_CONSTANT = 1,
  GALVATRON_RT_ROLE_OPTIMIZER_STATE = 2,
  GALVATRON_RT_ROLE_GRADIENT = 3,
  GALVATRON_RT_ROLE_INPUT = 4,
  GALVATRON_RT_ROLE_LABELS = 5,
  GALVATRON_RT_ROLE_SCALAR = 6,
  GALVATRON_RT_ROLE_HYPER = 7,
  GALVATRON_RT_ROLE_OUTPUT = 8
} galvatron_rt_tensor_role;

/* A tensor that the runtime itself reads or writes: row-major at `offset` of the arena. Temporaries
 * that only functions see need no record. Tensors with roles PARAMETER, CONSTANT and
 * OPTIMIZER_STATE must not share bytes with any other tensor. */
typedef struct galvatron_rt_tensor_record {
  int64_t name;
  int64_t role;  /* galvatron_rt_tensor_role */
  int64_t dtype; /* galvatron_rt_dtype */
  int64_t rank;
  int64_t dims; /* first of `rank` records of DIMS */
  int64_t offset; /* INPUT, LABELS: -1 = no row of this stage reads it */
  int64_t bytes;     /* product of dims times the element's size; offset + bytes <= arena_bytes */
  int64_t batch_dim; /* OUTPUT: the dimension that pieces of micro-batches fill one after the other;
                        -1 = this is the whole output (published with any micro-batch or -1; the
                        last one counts). Other roles: -1 */
} galvatron_rt_tensor_record;

typedef enum galvatron_rt_init {
  GALVATRON_RT_INIT_ZERO = 0,
  GALVATRON_RT_INIT_ONE = 1,
  GALVATRON_RT_INIT_NORMAL = 2 /* N(0, 0.02) */
} galvatron_rt_init;

typedef enum galvatron_rt_saved_kind {
  GALVATRON_RT_SAVED_TRAINABLE = 0, /* in --save and --save-gradients; --load must have it */
  GALVATRON_RT_SAVED_FROZEN = 1,    /* in --save; --load must have it */
  GALVATRON_RT_SAVED_CONSTANT = 2   /* only in the program's own weights file; --load may have it */
} galvatron_rt_saved_kind;

/* A tensor as files have it: PyTorch's name and shape. */
typedef struct galvatron_rt_saved_record {
  int64_t name;
  int64_t kind;  /* galvatron_rt_saved_kind */
  int64_t dtype; /* galvatron_rt_dtype */
  int64_t rank;
  int64_t dims; /* first of `rank` records of DIMS */
  int64_t init; /* galvatron_rt_init, for random weights */
  int64_t contents; /* bit galvatron_rt_state_kind is set: some stage has such state of some part of it */
} galvatron_rt_saved_record;

/* Element (i, j, ...) of the whole `tensor` is element offset + i*strides[0] + j*strides[1] + ... of
 * the row-major `saved`. The views with `primary` set, of all stages, partition each saved tensor:
 * --save writes exactly those. 2 = the first stage
 * that has the same parameter writes it. Each PARAMETER and CONSTANT tensor has exactly one view. */
typedef struct galvatron_rt_view_record {
  int64_t tensor;
  int64_t saved;
  int64_t offset;
  int64_t strides; /* first of the tensor's rank records of DIMS; each >= 0 */
  int64_t primary;
} galvatron_rt_view_record;

/* One more name for a saved tensor (a tied weight): written under both, loaded from either. */
typedef struct galvatron_rt_alias_record {
  int64_t name;
  int64_t saved;
} galvatron_rt_alias_record;

typedef enum galvatron_rt_state_kind {
  GALVATRON_RT_STATE_GRADIENT = 0, /* role GRADIENT */
  GALVATRON_RT_STATE_EXP_AVG = 1,  /* the others: role OPTIMIZER_STATE */
  GALVATRON_RT_STATE_EXP_AVG_SQ = 2,
  GALVATRON_RT_STATE_MOMENTUM_BUFFER = 3
} galvatron_rt_state_kind;

/* `tensor` (same shape, split alike) is the gradient or optimizer state of `parameter`; the parameter's
 * view says where its elements lie in files. */
typedef struct galvatron_rt_state_record {
  int64_t parameter;
  int64_t kind; /* galvatron_rt_state_kind */
  int64_t tensor;
} galvatron_rt_state_record;

/* An axis of the mesh. A rank's coordinates are the digits of its number: the last axis counts
 * fastest. */
typedef struct galvatron_rt_axis_record {
  int64_t name;
  int64_t size; /* at least 2 */
} galvatron_rt_axis_record;

/* A rank has a piece of `tensor` (PARAMETER, CONSTANT, OPTIMIZER_STATE or GRADIENT), whose record has
 * the piece's dimensions: along `dim`, the piece with the number of its coordinate along `axis`. Of
 * several splits of one dimension the first counts slowest. Where the pieces do not divide the whole
 * dimension, what lies behind its end in the last ones is padding, which no file has. */
typedef struct galvatron_rt_split_record {
  int64_t tensor;
  int64_t dim;
  int64_t axis;
  int64_t size; /* of the whole dimension; the same in all splits of it */
} galvatron_rt_split_record;

/* The ranks that differ only in their coordinates along some axes: each rank is in one such set per
 * record. Their order is that of these coordinates, the last axis counting fastest. */
typedef struct galvatron_rt_group_record {
  int64_t name; /* string, for messages: the axes */
  int64_t axes; /* first of n_axes records of DIMS, each an axis, ascending */
  int64_t n_axes;
} galvatron_rt_group_record;

/* Adds coordinate(axis) * bytes to the offset of an argument. */
typedef struct galvatron_rt_shift_record {
  int64_t axis;
  int64_t bytes; /* at least 0 */
} galvatron_rt_shift_record;

/* How values of several ranks become one. */
typedef enum galvatron_rt_monoid {
  GALVATRON_RT_MONOID_SUM = 0,
  GALVATRON_RT_MONOID_MAX = 1,
  GALVATRON_RT_MONOID_MIN = 2
} galvatron_rt_monoid;

enum {
  GALVATRON_RT_MATMUL_HAS_BIAS = 1,  /* bias is f32[n], contiguous, added to every row */
  GALVATRON_RT_MATMUL_ACCUMULATE = 2 /* out += product */
};

/* out[b.., m, n] = sum over k of lhs[b.., m, k] * rhs[b.., k, n], f32. Strides are in elements and
 * arbitrary (a transposed operand is one with its last two strides exchanged), 0 in a batch
 * dimension broadcasts an operand; out may not overlap itself. Fastest when each operand has a unit
 * stride in one of its last two dimensions. */
typedef struct galvatron_rt_matmul_record {
  int64_t name; /* string, for messages and profiles */
  int64_t flags;
  int64_t batch_rank; /* 0 to GALVATRON_RT_MAX_BATCH_DIMS */
  int64_t batch[GALVATRON_RT_MAX_BATCH_DIMS];
  int64_t m, n, k;
  int64_t lhs_batch_strides[GALVATRON_RT_MAX_BATCH_DIMS];
  int64_t lhs_strides[2]; /* of m, k */
  int64_t rhs_batch_strides[GALVATRON_RT_MAX_BATCH_DIMS];
  int64_t rhs_strides[2]; /* of k, n */
  int64_t out_batch_strides[GALVATRON_RT_MAX_BATCH_DIMS];
  int64_t out_strides[2]; /* of m, n */
  int64_t scratch_bytes;  /* what galvatron_rt_matmul_scratch_bytes said; the program refuses to
                             start otherwise */
} galvatron_rt_matmul_record;

typedef enum galvatron_rt_conv_direction {
  GALVATRON_RT_CONV_FORWARD = 0,
  GALVATRON_RT_CONV_BACKWARD_DATA = 1,
  GALVATRON_RT_CONV_BACKWARD_WEIGHTS = 2
} galvatron_rt_conv_direction;

/* src [batch, in_channels, src..], weights [out_channels, in_channels / groups, kernel..] (which is
 * [groups, out_channels / groups, ...] as well), bias [out_channels], dst [batch, out_channels,
 * dst..]; all f32 and row-major. Entries of the arrays beyond spatial_rank are 0. Output size d
 * satisfies dst = (src + pads_begin + pads_end - ((kernel - 1) * dilation + 1)) / stride + 1,
 * rounded down. */
typedef struct galvatron_rt_conv_record {
  int64_t name;
  int64_t direction;    /* galvatron_rt_conv_direction */
  int64_t flags;        /* GALVATRON_RT_MATMUL_HAS_BIAS only */
  int64_t spatial_rank; /* 1 to 3 */
  int64_t batch, in_channels, out_channels, groups;
  int64_t src[3], kernel[3], dst[3];
  int64_t strides[3];
  int64_t dilations[3]; /* 1 = dense */
  int64_t pads_begin[3], pads_end[3];
  int64_t scratch_bytes; /* what galvatron_rt_conv_scratch_bytes said */
} galvatron_rt_conv_record;

typedef struct galvatron_rt_function_record {
  int64_t name;
  int64_t frame_bytes; /* working memory it needs; every row that runs it has a frame of that size
                          in the arena */
} galvatron_rt_function_record;

typedef enum galvatron_rt_action {
  GALVATRON_RT_ACTION_RUN = 0,            /* call `function` */
  GALVATRON_RT_ACTION_PUBLISH_OUTPUT = 1, /* `tensor` (role OUTPUT) holds micro-batch `micro_batch`:
                                             --save-outputs writes it now */
  GALVATRON_RT_ACTION_PUBLISH_GRADIENTS =
      2, /* all gradients are whole and not clipped: --save-gradients writes them */
  /* Collectives, which all ranks of the row's group make together: args are what is read and what is
   * written, of one dtype. These rows begin them and go on; until the COMPLETE row both args are left
   * alone. All ranks of a group begin the same ones in the same order. */
  GALVATRON_RT_ACTION_ALL_REDUCE = 3, /* written = what all ranks of the group read, combined by the
                                         monoid in the order of the ranks; the two have equal sizes
                                         and may be the same memory */
  GALVATRON_RT_ACTION_ALL_GATHER = 4, /* written = what the ranks of the group read, one after the
                                         other; the two do not overlap */
  /* Messages between the ranks that have the same place in two stages: the one argument is what is
   * sent or received. Messages of one rank to another arrive in the order of sending. */
  GALVATRON_RT_ACTION_SEND = 5, /* begins to send to stage `peer` and goes on */
  GALVATRON_RT_ACTION_WAIT_SENT = 6, /* waits until the oldest message to stage `peer` that nobody
                                        has waited for is received: it may be written over */
  GALVATRON_RT_ACTION_RECEIVE = 7,   /* waits for the next message of stage `peer` */
  GALVATRON_RT_ACTION_COMPLETE = 8   /* waits until the collective of `group` that writes the one
                                        argument is done */
} galvatron_rt_action;

typedef struct galvatron_rt_row_record {
  int64_t action;      /* galvatron_rt_action */
  int64_t function;    /* RUN: index; otherwise -1 */
  int64_t micro_batch; /* -1 = once per step */
  int64_t first_arg;   /* RUN and collectives: args are records [first_arg, first_arg + n_args) of ARGS */
  int64_t n_args;
  int64_t frame;  /* RUN: arena offset of the frame, -1 = none */
  int64_t tensor; /* PUBLISH_OUTPUT: index; otherwise -1 */
  int64_t name;   /* string, for messages: which block or op of the model this is */
  int64_t group;  /* collectives: index of GROUPS; otherwise -1 */
  int64_t monoid; /* ALL_REDUCE: galvatron_rt_monoid; otherwise -1 */
  int64_t peer;   /* messages: the other stage; otherwise -1 */
} galvatron_rt_row_record;

enum { GALVATRON_RT_ACCESS_READ = 1, GALVATRON_RT_ACCESS_WRITE = 2 };

/* What one argument of a row points to. `bytes` counts for collectives; otherwise everything but the
 * offset and its shifts serves checks and --nan-trace. */
typedef struct galvatron_rt_arg_record {
  int64_t offset; /* into the arena, a multiple of the element's size */
  int64_t bytes;
  int64_t access; /* bits of GALVATRON_RT_ACCESS_ */
  int64_t dtype;  /* galvatron_rt_dtype */
  int64_t name;   /* string: the value, "" = unnamed */
  int64_t first_shift; /* its offset is moved by records [first_shift, first_shift + n_shifts) of
                          SHIFTS: a rank's piece of what is whole */
  int64_t n_shifts;
} galvatron_rt_arg_record;

/* main() of a program is `return galvatron_rt_main(argc, argv, images);`, with the image of each
 * pipeline stage (of the only one). Rank r is of stage r / (ranks / stages). The images of all
 * stages agree in everything that is not a stage's own: sections SAVED, ALIASES, AXES and GROUPS are
 * the same, as is the staging area, and each declares all inputs of the program. Returns the exit status:
 * 0, 1 for an error (a line on standard error), 2 for a wrong command line, and what shells say of a
 * process that a signal ended, 128 + its number, where SIGTERM, SIGINT or SIGUSR1 ended the run before its last
 * step. */
int galvatron_rt_main(int argc, char **argv, const galvatron_rt_image *images);

/* ============================ (c) what the compiler asks ============================ */

/* Scratch bytes that the record (its own scratch_bytes is not read) will want in a program with
 * that many threads and that CPU level. The machine that asks must have the level itself; one
 * process asks for one level only. */
int galvatron_rt_matmul_scratch_bytes(const galvatron_rt_matmul_record *record, int64_t threads,
                                      int64_t cpu_level, int64_t *bytes, char *error,
                                      size_t error_size);
int galvatron_rt_conv_scratch_bytes(const galvatron_rt_conv_record *record, int64_t threads,
                                    int64_t cpu_level, int64_t *bytes, char *error,
                                    size_t error_size);

/* 1 if the runtime can test for the feature (LLVM's name, as in "avx512f"), else 0. */
int galvatron_rt_cpu_feature_known(const char *name);

/* 1 if this machine has the feature, 0 if not or if it is not known. */
int galvatron_rt_cpu_feature_present(const char *name);

/* 1 if this machine has all of the level, else 0. */
int galvatron_rt_cpu_level_present(int64_t cpu_level);

/* Checks an image as a program does at start: every bound, name, overlap and record. Makes no
 * library primitive. */
int galvatron_rt_check_image(const galvatron_rt_image *image, char *error, size_t error_size);

/* ============================ (d) for tests and embedding ============================ */

/* Checks the image, allocates its arena (zeroed) and makes its primitives. The image must outlive
 * the context. */
int galvatron_rt_context_create(const galvatron_rt_image *image, galvatron_rt_context **ctx,
                                char *error, size_t error_size);
void galvatron_rt_context_destroy(galvatron_rt_context *ctx);

/* The first error so far, NULL if there is none; valid until the context is destroyed or the error
 * cleared. */
const char *galvatron_rt_context_error(const galvatron_rt_context *ctx);
void galvatron_rt_context_clear_error(galvatron_rt_context *ctx);

/* Start of the arena, of arena_bytes bytes. */
void *galvatron_rt_context_arena(galvatron_rt_context *ctx);

/* Which library implementation a descriptor got ("brg:avx512_core", ...), for profiles; never NULL.
 */
const char *galvatron_rt_matmul_implementation(const galvatron_rt_context *ctx, int64_t descriptor);
const char *galvatron_rt_conv_implementation(const galvatron_rt_context *ctx, int64_t descriptor);

#ifdef __cplusplus
}
#endif

#endif /* GALVATRON_RT_H */
