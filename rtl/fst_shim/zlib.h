// The two functions of zlib that Verilator's FST writer calls, so that waves need no
// library beyond the compiler.  Stores (RFC 1950 and 1951, stored blocks).
#ifndef PAL_SPU_ZLIB_H
#define PAL_SPU_ZLIB_H
#include <cstdint>
#include <cstring>

typedef unsigned long uLong;
typedef unsigned long uLongf;
typedef unsigned char Bytef;
#define Z_OK 0
#define Z_BUF_ERROR (-5)

inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

inline int compress2(Bytef* target, uLongf* capacity, const Bytef* source, uLong size, int) {
    if (*capacity < compressBound(size)) return Z_BUF_ERROR;
    Bytef* out = target;
    *out++ = 0x78;
    *out++ = 0x01;
    uLong position = 0;
    do {
        const uLong length = size - position < 65535 ? size - position : 65535;
        *out++ = position + length == size;
        *out++ = length & 0xFF;
        *out++ = length >> 8;
        *out++ = ~length & 0xFF;
        *out++ = (~length >> 8) & 0xFF;
        std::memcpy(out, source + position, length);
        out += length;
        position += length;
    } while (position < size);
    uint32_t a = 1, b = 0;  // Adler-32
    for (uLong i = 0; i < size; i++) {
        a = (a + source[i]) % 65521;
        b = (b + a) % 65521;
    }
    for (int shift = 24; shift >= 0; shift -= 8) *out++ = ((b << 16 | a) >> shift) & 0xFF;
    *capacity = static_cast<uLongf>(out - target);
    return Z_OK;
}
#endif
