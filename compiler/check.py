def check(image, mapping, arch):
    pass
