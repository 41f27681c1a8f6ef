// The two functions of liblz4 that Verilator's FST writer calls, so that waves need no
// library beyond the compiler.  Stores: one sequence of literals is a valid LZ4 block
// (LZ4 block format description, "End of block conditions").
#ifndef PAL_SPU_LZ4_H
#define PAL_SPU_LZ4_H
#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* source, char* target, int size, int capacity) {
    if (capacity < LZ4_compressBound(size)) return 0;
    char* out = target;
    int rest = size - 15;
    *out++ = static_cast<char>((rest < 0 ? size : 15) << 4);
    if (rest >= 0) {
        for (; rest >= 255; rest -= 255) *out++ = static_cast<char>(255);
        *out++ = static_cast<char>(rest);
    }
    std::memcpy(out, source, size);
    return static_cast<int>(out - target) + size;
}
#endif
