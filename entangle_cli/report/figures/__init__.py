"""What a report shows of its runs, as descriptions: nothing here draws.

figure       a figure: panels, how to read them, the numbers behind
layers       entanglement and temperature of layers over checkpoints; classes that mix
credibility  credibility against accuracy, and how it is distributed
detection    ROC curves and score histograms of detectors
maps         layers as maps of points
"""
